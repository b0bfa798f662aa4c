"""What `vnn-mondeq doctor` looks at: the environment, optional packages, and a self-test.

Every look is a function that returns findings; none raises, and none changes anything beyond a
temporary folder of its own. Nothing is imported from the package's rooms before it is looked at, so
that a broken installation is a finding too.
"""
