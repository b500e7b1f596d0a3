"""Lists the nodes of cluster `default` by a client that was made of the controller's OpenAPI document, the package `made`.

    nodes.py URL TOKEN
"""

import sys

from made import AuthenticatedClient
from made.api.default import clusters, status

with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2]) as client:
    assert [found.cluster for found in clusters.sync(client=client).clusters] == ["default"]
    for instance in status.sync("default", client=client).instances:
        for node in instance.nodes:
            print(instance.instance, node.node, node.role.value, node.state.value, node.pid)
    print(status.sync("nowhere", client=client).detail)
