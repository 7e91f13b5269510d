"""Experiments that find what is faster: levers, plans, designs that screen them, and the one judge that says "better".

Reads top to bottom: ``lever`` (what can be changed), ``laboratory`` (what measures it), ``statistics``, ``judge``; the
designs that choose what is worth a closer look, ``screening`` (races and factorial blocks, by the ``effects`` that the
trials show) and ``one_shot`` (each candidate by itself); ``confirmation`` (measured afresh), and ``search``, which puts
them together.
"""
