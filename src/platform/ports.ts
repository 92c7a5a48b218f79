/** The ports of kpeering inside a pod: the one source of truth in code (`init-container/redirect.sh` and docs/ports.md agree, by test). */
export const ports = {
  /** Where REDIRECT sends a pod's inbound TCP. Bound to the wildcard; a connection that was not redirected is reset. */
  inbound: 15306,
  /** Reserved for the pod's outbound TCP. */
  outbound: 15301,
  /** The tunnel's endpoint, on the pod's loopback only: reached through the API server's port-forward. */
  tunnel: 15310,
  /** `/healthz` and `/readyz`, read-only, excluded from capture. */
  health: 15320,
} as const;
