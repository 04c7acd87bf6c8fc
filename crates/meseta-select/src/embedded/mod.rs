//! Chooses by static embeddings and by the words themselves, without asking anybody.
