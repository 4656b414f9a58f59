"""Sound in, sound out: impulse responses, dynamic range compression and what a recording device does to a sound."""
