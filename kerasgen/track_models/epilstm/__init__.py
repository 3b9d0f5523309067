"""Codes of positions from tracks: the Epi-LSTM autoencoder, its training, and embeddings written for other uses."""
