"""Tests of explain: what is wrong with a program on this host?"""
