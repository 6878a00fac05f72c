"""Model providers: one interface, `routing.Answer`, over two wires, Responses and Chat Completions."""
