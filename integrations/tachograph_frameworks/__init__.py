"""One small module for each framework; each is found through the ``tachograph.plugins`` entry points."""
