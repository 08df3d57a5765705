"""The sources of encoders: folders, archives, TF Hub, Kaggle and MLflow; downloads and a cache."""
