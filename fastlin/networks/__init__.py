"""Networks: two weight matrices and their balance, alone or in stacks, and as low-rank updates."""
