import { z } from 'zod';

/** What `up` has joined to the machine: printed when it is ready, and shown by `kpctl status`. */
export const joinedSchema = z.object({
  context: z.string(),
  server: z.string(),
  namespace: z.string(),
  /** Where flows leave from: a pod of the gateway, or of the workload. */
  exit: z.object({
    kind: z.enum(['gateway', 'workload']),
    /** `deployment/web` */
    workload: z.string().optional(),
    /** `kpeering-system/kpeering-gateway-1`; absent while there is none. */
    pod: z.string().optional(),
  }),
  networks: z.object({
    /** What is captured, CIDR. */
    captured: z.array(z.string()),
    /** What of it is left alone. */
    never: z.array(z.string()),
    /** A sentence for each source: `Services: 10.96.0.0/16 (ServiceCIDR objects)`. */
    sources: z.array(z.string()),
    /** The user's own: `--also`, `--never`. */
    also: z.array(z.string()),
    excluded: z.array(z.string()),
  }),
  /** Networks of the cluster that a route of this machine has, too: their addresses are stood for by others. */
  synthetic: z
    .object({
      ranges: z.array(z.string()),
      overlaps: z.array(z.object({ network: z.string(), of: z.enum(['Services', 'pods']), switched: z.string(), route: z.string() })),
    })
    .optional(),
  names: z.object({
    domain: z.string(),
    /** Whose names are short. */
    search: z.array(z.string()),
    /** How the machine was told: `systemd-resolved`, `network-manager`, `resolv-conf`, `nft`. */
    kind: z.string(),
    /** The machine's own servers, which answer for all other names: `192.168.1.1:53`. */
    elsewhere: z.array(z.string()),
  }),
  /** The agent's log file. */
  log: z.string(),
});
export type Joined = z.infer<typeof joinedSchema>;

/** What was joined, a line each, for people. */
export function describeJoined({ context, server, namespace, exit, networks, synthetic, names, log }: Joined): string[] {
  const from = exit.kind === 'gateway' ? 'the gateway' : (exit.workload ?? 'the workload');
  const pod = exit.pod === undefined ? 'no pod now' : `pod ${exit.pod}`;
  const elsewhere = names.elsewhere.length === 0 ? 'nobody: this machine has no name server' : names.elsewhere.join(', ');
  return [
    `joined ${context} (${server}), namespace ${namespace}, through ${from} (${pod})`,
    ...networks.sources,
    ...(networks.also.length === 0 ? [] : [`also captured: ${networks.also.join(', ')}`]),
    ...(networks.excluded.length === 0 ? [] : [`never captured: ${networks.excluded.join(', ')}`]),
    ...(synthetic?.overlaps ?? []).map(
      ({ switched, of, route }) =>
        `${switched} (${of}) overlaps the route ${route}: names there get addresses of ${synthetic?.ranges.join(', ')}`,
    ),
    `names: ${names.domain}, short ones of ${namespace}, by ${names.kind}; all others are asked of ${elsewhere}`,
    `log: ${log}`,
  ];
}
