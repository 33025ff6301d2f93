"""Harm done on purpose to what a student reads: noise over speech, words a recogniser loses, pictures lost.

Everything here depends on its arguments alone, seeds among them, so that a damaged test split is the same on every
machine. One seed serves every level of one damage: the same noise at 20, 10 and 0 dB, and of the words lost at 30 %
those lost at 10 %, so that what two levels tell apart is the level.
"""
