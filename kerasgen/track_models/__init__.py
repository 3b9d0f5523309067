"""Models that learn from tracks alone: Avocado and Epi-LSTM, imputation, embeddings, and their scores."""
