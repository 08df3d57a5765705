"""The places that encoders come from: folders, TF Hub, Kaggle, MLflow, downloads, and the cache."""
