import { nearNames } from '../../cluster/near-names.ts';
import { Failure } from '../../platform/errors.ts';
import { parseQuantity } from '../../simulator/environment/quantity.ts';
import { INJECT_LABEL, INJECTED_LABEL, OPTION_PREFIX, OTHER_ANNOTATIONS } from './names.ts';
import {
  oneOf,
  parseCpu,
  parseInboundPorts,
  parseMemory,
  parseNetworks,
  parsePorts,
  parsePortsOrAll,
  parseSwitch,
  parseUdpPorts,
  WrongValue,
} from './option-values.ts';

/** Every option, by its name without `kpeering.io/`. */
export const optionNames = [
  'mode',
  'inbound-ports',
  'exclude-inbound-ports',
  'inbound-udp-ports',
  'outbound',
  'outbound-ports',
  'exclude-outbound-ports',
  'outbound-cidrs',
  'exclude-outbound-cidrs',
  'dns',
  'keep-source',
  'log-level',
  'cpu-request',
  'cpu-limit',
  'memory-request',
  'memory-limit',
] as const;
export type OptionName = (typeof optionNames)[number];

export type CaptureMode = 'auto' | 'redirect' | 'tproxy';

/**
 * The options that were given. Those of the capture are the variables of redirect.sh (init-container/options.sh), with their meaning; where
 * a variable takes 1 or 0, an option takes `enabled` or `disabled`.
 */
export interface InjectionOptions {
  readonly mode: CaptureMode;
  /** Entries, or `*`. When it is not given: the TCP ports that the containers declare, and all where they declare none. */
  readonly inboundPorts: readonly string[] | undefined;
  readonly excludeInboundPorts: readonly string[];
  /** When it is not given: the UDP ports that the containers declare, except in redirect mode. */
  readonly inboundUdpPorts: readonly string[] | undefined;
  /** False: no laptop dials from this pod's network identity. */
  readonly outbound: boolean;
  readonly outboundPorts: readonly string[];
  readonly excludeOutboundPorts: readonly string[];
  readonly outboundCidrs: readonly string[];
  readonly excludeOutboundCidrs: readonly string[];
  readonly dns: boolean;
  readonly keepSource: boolean;
  readonly logLevel: string | undefined;
  /** Of the sidecar and of the init container, each; quantities. */
  readonly resources: ResourceOptions;
}

export interface ResourceOptions {
  readonly cpuRequest: string | undefined;
  readonly cpuLimit: string | undefined;
  readonly memoryRequest: string | undefined;
  readonly memoryLimit: string | undefined;
}

/** Who gives options: the pod, its namespace, or the operator's settings. */
export interface OptionSource {
  /** For messages: `the pod`. */
  readonly whose: string;
  /** What is before each name: {@link OPTION_PREFIX} for annotations. */
  readonly prefix: string;
  readonly values: Readonly<Record<string, string | undefined>>;
  /** False: its resources are not used. */
  readonly resources?: boolean;
}

/**
 * The options of several sources; where some give the same one, the first counts, and the others are not looked at. Throws a Failure
 * `INJECT_OPTION` that names every wrong value, every unknown option, and what does not go together.
 */
export function readOptions(sources: readonly OptionSource[]): InjectionOptions {
  const problems = sources.flatMap((source) => unknownOptions(source));
  function read<T>(name: OptionName, parse: (text: string) => T): T | undefined {
    const source = sources.find(
      ({ prefix, values, resources }) => values[prefix + name] !== undefined && (resources !== false || !isResource(name)),
    );
    if (source === undefined) return undefined;
    try {
      return parse((source.values[source.prefix + name] ?? '').trim());
    } catch (error) {
      if (!(error instanceof WrongValue)) throw error;
      problems.push(`${source.prefix}${name} of ${source.whose}: ${error.message}`);
      return undefined;
    }
  }
  const options: InjectionOptions = {
    mode: read('mode', oneOf('auto', 'redirect', 'tproxy')) ?? 'auto',
    inboundPorts: read('inbound-ports', parseInboundPorts),
    excludeInboundPorts: read('exclude-inbound-ports', parsePorts) ?? [],
    inboundUdpPorts: read('inbound-udp-ports', parseUdpPorts),
    outbound: read('outbound', parseSwitch) ?? true,
    outboundPorts: read('outbound-ports', parsePortsOrAll) ?? [],
    excludeOutboundPorts: read('exclude-outbound-ports', parsePorts) ?? [],
    outboundCidrs: read('outbound-cidrs', parseNetworks) ?? [],
    excludeOutboundCidrs: read('exclude-outbound-cidrs', parseNetworks) ?? [],
    dns: read('dns', parseSwitch) ?? false,
    keepSource: read('keep-source', parseSwitch) ?? false,
    logLevel: read('log-level', oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent')),
    resources: {
      cpuRequest: read('cpu-request', parseCpu),
      cpuLimit: read('cpu-limit', parseCpu),
      memoryRequest: read('memory-request', parseMemory),
      memoryLimit: read('memory-limit', parseMemory),
    },
  };
  problems.push(...contradictions(options));
  if (problems.length > 0) throw new Failure('INJECT_OPTION', problems.join('; '), { remedy: 'docs/injection.md lists the options' });
  return options;
}

function isResource(name: OptionName): boolean {
  return name.startsWith('cpu-') || name.startsWith('memory-');
}

function unknownOptions({ whose, prefix, values }: OptionSource): readonly string[] {
  const known = new Set([...OTHER_ANNOTATIONS, ...optionNames.map((name) => prefix + name)]);
  const unknown = Object.keys(values).filter((key) => key.startsWith(prefix) && !known.has(key));
  return unknown.map((key) => {
    const what = `${key} of ${whose}:`;
    if (key === INJECT_LABEL || key === INJECTED_LABEL) return `${what} this is a label, not an annotation`;
    const near = nearNames(key.slice(prefix.length), optionNames);
    return `${what} there is no such option${near.length === 0 ? '' : `; did you mean ${near.map((name) => prefix + name).join(' or ')}?`}`;
  });
}

/** What redirect.sh would say and leave out, and what the API server would refuse the pod for. */
function contradictions({ mode, inboundUdpPorts, keepSource, resources }: InjectionOptions): readonly string[] {
  const problems: string[] = [];
  if (mode === 'redirect' && inboundUdpPorts !== undefined && inboundUdpPorts.length > 0) {
    problems.push(`${OPTION_PREFIX}inbound-udp-ports: UDP is captured in tproxy mode only, and ${OPTION_PREFIX}mode is redirect`);
  }
  if (mode === 'redirect' && keepSource) {
    problems.push(`${OPTION_PREFIX}keep-source: works in tproxy mode only, and ${OPTION_PREFIX}mode is redirect`);
  }
  for (const [what, request, limit] of [
    ['cpu', resources.cpuRequest, resources.cpuLimit],
    ['memory', resources.memoryRequest, resources.memoryLimit],
  ] as const) {
    if (request !== undefined && limit !== undefined && (parseQuantity(request) ?? 0n) > (parseQuantity(limit) ?? 0n)) {
      problems.push(`${OPTION_PREFIX}${what}-request: ${request} is more than ${OPTION_PREFIX}${what}-limit, ${limit}`);
    }
  }
  return problems;
}
