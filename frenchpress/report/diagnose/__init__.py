"""What may be wrong with a trained model: its training, its errors, its task and its layers, each with what to try."""
