"""From protobuf to the model, checking every field, and back. Pure.

`requests` and `lists` have a function for each RPC, which reads its request
and raises InvalidArgument with every field at fault. Boards come out as they
were named; "" is the default board. `replies` writes what goes back.
"""
