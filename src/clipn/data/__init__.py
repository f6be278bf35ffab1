"""Images, image-caption pairs and embeddings: where they come from and where they are kept."""
