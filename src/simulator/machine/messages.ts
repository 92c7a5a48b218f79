import { z } from 'zod';
import { parseCidr } from '../../platform/cidr.ts';
import { Failure } from '../../platform/errors.ts';

/**
 * What the front, the helper and the agent say to each other, over Node's IPC channels. The helper is root and the agent is not: what the agent
 * says is checked, and nothing of it is run or written anywhere else than where its schema says that it fits.
 */
const mostNetworks = 20_000;
const mostNames = 10_000;
const network = z
  .string()
  .max(64)
  .refine((text) => parseCidr(text) !== undefined);
const domainName = z
  .string()
  .max(254)
  .regex(/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?$/iu);
const networks = z.object({ capture: z.array(network).max(mostNetworks), never: z.array(network).max(mostNetworks) });
const namesPlan = z.object({
  domain: domainName,
  search: z.array(domainName).max(mostNames),
  namespaces: z.array(domainName).max(mostNames),
  networks: z.array(network).max(mostNetworks),
});
const id = z.int();
const port = z.int().min(1).max(65_535);

/** A Failure on its way to another process. */
const failureSchema = z.object({ code: z.string(), what: z.string(), likely: z.string().optional(), remedy: z.string().optional() });
export type SentFailure = z.infer<typeof failureSchema>;

export function sendableFailure({ code, message, likely, remedy }: Failure): SentFailure {
  return { code, what: message, ...(likely !== undefined && { likely }), ...(remedy !== undefined && { remedy }) };
}

export function receivedFailure({ code, what, likely, remedy }: SentFailure): Failure {
  return new Failure(code, what, { ...(likely !== undefined && { likely }), ...(remedy !== undefined && { remedy }) });
}

/** From the front to the helper: from root to root. */
export const fromFrontSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('start'),
    caller: z.object({
      uid: z.int().min(0),
      gid: z.int().min(0),
      groups: z.array(z.int().min(0)),
      name: z.string(),
      home: z.string(),
      environment: z.record(z.string(), z.string()),
      directory: z.string(),
    }),
    agent: z.tuple([z.string()], z.string()),
  }),
  z.object({ type: z.literal('detach') }),
  z.object({ type: z.literal('close') }),
]);
export type FromFront = z.infer<typeof fromFrontSchema>;

/** From the helper to the front. */
export const toFrontSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('started'), repaired: z.array(z.string()) }),
  z.object({ type: z.literal('not-started'), failure: failureSchema }),
  z.object({ type: z.literal('report'), message: z.unknown() }),
  z.object({ type: z.literal('detached') }),
  z.object({ type: z.literal('ended'), reason: z.enum(['asked', 'agent-ended', 'failed']), message: z.string() }),
]);
export type ToFront = z.infer<typeof toFrontSchema>;

/** From the agent to the helper. */
export const fromAgentSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('set-up'), networks, names: namesPlan }),
  z.object({ type: z.literal('set-networks'), id, networks }),
  z.object({ type: z.literal('set-names'), id, names: namesPlan }),
  z.object({ type: z.literal('report'), message: z.unknown() }),
  z.object({ type: z.literal('close') }),
]);
export type FromAgent = z.infer<typeof fromAgentSchema>;

const appliedNames = z.object({
  kind: z.enum(['systemd-resolved', 'network-manager', 'resolv-conf', 'nft']),
  servers: z.array(z.object({ address: z.string(), port: z.int() })).readonly(),
  search: z.array(z.string()).readonly(),
});

export const listenerPurposes = ['flows', 'dns-tcp', 'dns-udp'] as const;

/** From the helper to the agent; `listener` carries a handle. */
export const toAgentSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('listener'), purpose: z.enum(listenerPurposes) }),
  z.object({ type: z.literal('ready'), names: appliedNames, warnings: z.array(z.string()), datagramPorts: z.array(port) }),
  z.object({ type: z.literal('not-ready'), failure: failureSchema }),
  z.object({ type: z.literal('changed'), id, failure: failureSchema.optional() }),
  z.object({ type: z.literal('names-changed'), names: appliedNames }),
  z.object({ type: z.literal('ending'), message: z.string() }),
]);
export type ToAgent = z.infer<typeof toAgentSchema>;
