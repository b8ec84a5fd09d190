"""What is done with networks: data sets, presets, training, comparisons, figures, model files."""
