"""Truth: published nights judged by the labels that came for them, and what follows from that."""
