"""From a config to a density: base, chain, label model, and the two together."""
