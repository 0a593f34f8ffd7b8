"""The report's page: what it compares (comparison), how rows were lost (funnel), charts, and the HTML (render).

Pure functions from plain numbers and texts to one string of HTML; the files are read by the report stage.
"""
