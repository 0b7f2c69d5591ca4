"""HTTP/1.1 on trio: bytes in, Request; Response out, bytes. Knows no containers and no JSON shapes."""
