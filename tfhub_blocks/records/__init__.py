"""The records that steps hand each other. No TensorFlow, no Azure."""
