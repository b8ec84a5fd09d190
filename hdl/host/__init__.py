"""How a host reaches a network: commands and replies, counters, the serial link, AXI."""
