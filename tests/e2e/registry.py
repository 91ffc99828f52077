# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a file of cases lists them: CASES, a dictionary from name to function(make_rig)."""


class Cases(dict):
    def case(self, name):
        def add(function):
            assert name not in self, name
            self[name] = function
            return function
        return add
