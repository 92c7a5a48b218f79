/** The ports of kpeering inside a pod: the one source of truth in code (`init-container/redirect.sh` and docs/ports.md agree, by test). */
export const ports = {
  /**
   * Where the rules send captured inbound TCP that has no listener of its own: all of it in redirect mode, `*` in tproxy mode. Bound to the
   * wildcard; a connection that nothing captured is reset.
   */
  inbound: 15306,
  /** Where the rules send the pod's captured outbound TCP (nat OUTPUT lands on loopback). */
  outbound: 15301,
  /** Where the rules send the pod's DNS, UDP and TCP, when that is asked for. On loopback. */
  dns: 15353,
  /** Nobody listens here: a connection from outside that is answered all the same has been captured. The proof of the capture. */
  proof: 15307,
  /** Where the rules send connections to `proof` in tproxy mode. */
  proofListener: 15308,
  /** The tunnel's endpoint, on the pod's loopback only: reached through the API server's port-forward. */
  tunnel: 15310,
  /** The operator's webhook, in its own pods: there the API server asks about pods, over TLS. */
  webhook: 15309,
  /** `/healthz`, `/readyz` and `/metrics`, read-only, excluded from capture. */
  health: 15320,
  /** The first of the ports that probes are sent to in the place of an app's own; the kernel redirects each to its port. */
  firstAlias: 15400,
  lastAlias: 15499,
  /** The first of the transparent listeners in tproxy mode: one for each captured entry, TCP and UDP each with the same numbers. */
  firstListener: 15500,
  lastListener: 15599,
} as const;

const named: ReadonlySet<number> = new Set(Object.values(ports));

/** Whether `port` is one of the table of docs/ports.md, in use or not. */
export function isReservedPort(port: number): boolean {
  return (
    named.has(port) || (ports.firstAlias <= port && port <= ports.lastAlias) || (ports.firstListener <= port && port <= ports.lastListener)
  );
}

/**
 * The group that kpeering runs as in a pod, and by which the outbound rules know its traffic. Its own: 65532, which many images use for
 * `nonroot`, would exempt those.
 */
export const kpeeringGid = 15300;
