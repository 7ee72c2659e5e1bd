"""Files in, files out: what joins `formats` (files) with `retarget` (rigs), which do not know each other."""
