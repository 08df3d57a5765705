"""Reading, verification, signing, and drawing of the chain behind an output."""
