"""Pictures: the canvas, the style and the figures that several sections share.

A drawing knows neither paths nor HTML.
"""
