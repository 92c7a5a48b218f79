import { labTest } from './in-lab.ts';

labTest('pods reach each other by name, Service address and pod address; the laptop reaches the API server only', 'network');
labTest('lists and watches: selectors, bookmarks, timeouts, 410 Gone', 'watch');
labTest('401, 403 and 404 in the words of the API server, impersonation, SelfSubjectReview', 'rights');
labTest(
  'a port-forward by the real client, over SPDY, over WebSocket, and past a gateway that refuses SPDY, carries 64 MiB both ways unchanged',
  'portForward',
);
labTest('scaling, replacement of a deleted pod, deletion', 'replacement');
labTest('init containers, sidecars, environment, StatefulSet names, unknown images', 'kubelet');
labTest('a volume that two containers share, and that ends with the pod; a place for it that the machine has not is refused', 'volumes');
labTest('user, group and capabilities are those of the securityContext, where the lab has more than one user id', 'privileges');
labTest('probes by HTTP, TCP and gRPC; a pod is not ready while a sidecar is not running', 'probes');
