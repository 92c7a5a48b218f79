import { Failure } from '../../platform/errors.ts';
import { isReservedPort, ports } from '../../platform/ports.ts';
import { lastingContainers, type AdmittedContainer, type AdmittedPod, type Handler, type PlacedContainer } from './admitted-pod.ts';
import { pointer, type JsonPatch } from './json-patch.ts';

/**
 * Probes ask the app itself, whatever is claimed: each is sent to an alias, a port which a rule of the kernel takes to the app's. So are the hooks
 * of a container's life, which the kubelet makes from outside, too. What has a `host` of its own is not this pod's, and stays.
 */

/** Alias to the app's port. */
export type Aliases = ReadonlyMap<number, number>;

/** A place in the pod that names a port the kubelet connects to. */
export interface ProbedPort {
  /** `readinessProbe of container web` */
  readonly what: string;
  /** JSON pointer of the port. */
  readonly path: string;
  /** Names are looked up, as the kubelet does, in the container's own ports. */
  readonly port: number;
}

export interface AliasedProbes {
  readonly aliases: Aliases;
  readonly patch: JsonPatch;
}

/** Every port that the kubelet connects to, in all containers but kpeering's. A name that its container does not declare is not among them. */
export function probedPorts(pod: AdmittedPod): readonly ProbedPort[] {
  return lastingContainers(pod).flatMap((placed) => probedPortsOf(placed));
}

/**
 * Sends the probes of captured ports to aliases: those that are there already (of an earlier call for the same pod), and new ones. One alias
 * stands for all probes of a port. Failures: INJECT_PORT for a probe of a port that is kpeering's own, INJECT_PROBES when there are
 * too many ports.
 */
export function aliasProbes(probed: readonly ProbedPort[], isCaptured: (port: number) => boolean, existing: Aliases): AliasedProbes {
  const aliases = new Map(existing);
  const aliasOf = new Map([...existing].map(([alias, port]) => [port, alias]));
  const patch = probed.flatMap(({ what, path, port }) => {
    if (existing.has(port)) return [];
    if (isReservedPort(port)) throw ownPort(`the ${what} asks port ${port}`);
    if (!isCaptured(port)) return [];
    const alias = aliasOf.get(port) ?? freeAlias(aliases);
    aliases.set(alias, port);
    aliasOf.set(port, alias);
    return [{ op: 'replace', path, value: alias } as const];
  });
  return { aliases, patch };
}

/** `15400:8080,15401:9090`, the value of KPEERING_PROBE_ALIASES. */
export function formatAliases(aliases: Aliases): string {
  return [...aliases].map(([alias, port]) => `${alias}:${port}`).join(',');
}

/** What {@link formatAliases} has written; entries of another form are left out. */
export function parseAliases(text: string): Aliases {
  return new Map([...text.matchAll(/(?<=^|,)(\d{1,5}):(\d{1,5})(?=,|$)/gu)].map(([, alias, port]) => [Number(alias), Number(port)]));
}

export function ownPort(what: string): Failure {
  return new Failure('INJECT_PORT', `${what}, which is kpeering's own`, {
    remedy: 'let the app use another one; docs/ports.md lists those that are taken',
  });
}

function freeAlias(taken: Aliases): number {
  for (let alias: number = ports.firstAlias; alias <= ports.lastAlias; alias++) if (!taken.has(alias)) return alias;
  throw new Failure('INJECT_PROBES', `the probes ask more than ${ports.lastAlias - ports.firstAlias + 1} ports, and each needs an alias`, {
    remedy: 'capture fewer of them: set kpeering.io/inbound-ports',
  });
}

function probedPortsOf({ list, index, container }: PlacedContainer): readonly ProbedPort[] {
  const probes = (['startupProbe', 'livenessProbe', 'readinessProbe'] as const).flatMap((name) =>
    portsOf(container[name], container, name, ['spec', list, index, name]),
  );
  const hooks = (['postStart', 'preStop'] as const).flatMap((name) =>
    portsOf(container.lifecycle?.[name], container, `${name} hook`, ['spec', list, index, 'lifecycle', name]),
  );
  return [...probes, ...hooks];
}

function portsOf(
  handler: Handler | undefined,
  container: AdmittedContainer,
  what: string,
  path: readonly (string | number)[],
): readonly ProbedPort[] {
  return (['httpGet', 'tcpSocket', 'grpc'] as const).flatMap((kind) => {
    const action = handler?.[kind];
    if (action === undefined || ('host' in action && action.host !== undefined)) return [];
    const port = typeof action.port === 'number' ? action.port : container.ports.find(({ name }) => name === action.port)?.containerPort;
    return port === undefined ? [] : [{ what: `${what} of container ${container.name}`, path: pointer(...path, kind, 'port'), port }];
  });
}
