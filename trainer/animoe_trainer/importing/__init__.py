"""From a pack of animations to a published expert: check, import, journal, judgement, report."""
