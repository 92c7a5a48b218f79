import type { z } from 'zod';
import { protocolOf } from '../../cluster/workloads.ts';
import { matchesEntry } from '../../interceptor/rules-file.ts';
import { Failure } from '../../platform/errors.ts';
import { admittedPodSchema, lastingContainers, type AdmittedPod } from './admitted-pod.ts';
import { initContainer, initEnvironment, sidecarContainer, volume, type Capture } from './containers.ts';
import { isRecord, pointer, type JsonPatch, type PatchOperation } from './json-patch.ts';
import { INIT_NAME, INJECTED_LABEL, NOT_INJECTED_ANNOTATION, OPTION_PREFIX, REPLACED_ANNOTATION, SIDECAR_NAME } from './names.ts';
import { readOptions, type InjectionOptions } from './options.ts';
import { MOST_UDP_PORTS } from './option-values.ts';
import { aliasProbes, parseAliases, probedPorts, type Aliases } from './probes.ts';
import { refuse, refuseByPodSecurity } from './refusals.ts';
import { replaceContainer, type Replacement } from './replacement.ts';
import { isRequested } from './requested.ts';
import type { InjectionSettings, PodNamespace } from './settings.ts';

export interface InjectionRequest {
  /** A pod that is about to be created, as an AdmissionReview has it; or a pod template. */
  readonly pod: unknown;
  readonly namespace: PodNamespace;
  readonly settings: InjectionSettings;
}

/** What is done with a pod; `patch` is what to change in it. */
export type Injection =
  /** No label asks for it. */
  | { readonly kind: 'not-requested' }
  /** Injected now, or, in a second call for the same pod, brought up to what others have changed meanwhile. */
  | { readonly kind: 'injected'; readonly patch: JsonPatch }
  /** A second call with nothing to do. */
  | { readonly kind: 'unchanged' }
  /**
   * Requested, and left as it is: `reason` says why and what to do; the patch notes it in an annotation. Without a patch: it says so
   * already, it has no room for it, it cannot be read, or it was injected by the first call and something that came between cannot be taken in.
   */
  | { readonly kind: 'left-alone'; readonly reason: Failure; readonly patch: JsonPatch };

/** Decides about one pod. Nothing is asked or kept: the same request has the same answer. Throws only what is a bug. */
export function decideInjection({ pod, namespace, settings }: InjectionRequest): Injection {
  const parsed = admittedPodSchema.safeParse(pod);
  if (!parsed.success) return { kind: 'left-alone', reason: unreadable(parsed.error), patch: [] };
  const admitted = parsed.data;
  const injectedBefore = wasInjected(admitted);
  try {
    if (!isRequested(admitted.metadata.labels, namespace.labels)) return { kind: 'not-requested' };
    const patch = injectedBefore ? extend(pod, admitted, namespace, settings) : inject(pod, admitted, namespace, settings);
    return patch.length === 0 ? { kind: 'unchanged' } : { kind: 'injected', patch };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const reason = shortened(error);
    const note = reason.format();
    const noted = !injectedBefore && hasRoomFor(admitted.metadata.annotations, NOT_INJECTED_ANNOTATION, note);
    return { kind: 'left-alone', reason, patch: noted ? setEntry(pod, 'annotations', NOT_INJECTED_ANNOTATION, note) : [] };
  }
}

/** By this operator, at the pod's admission: its label alone may have been copied with a manifest. */
function wasInjected({ metadata, spec }: AdmittedPod): boolean {
  const has = (list: readonly { readonly name: string }[], name: string): boolean => list.some((container) => container.name === name);
  return (
    metadata.labels[INJECTED_LABEL] === 'true' &&
    has(spec.initContainers, INIT_NAME) &&
    has([...spec.initContainers, ...spec.containers], SIDECAR_NAME)
  );
}

function inject(pod: unknown, admitted: AdmittedPod, namespace: PodNamespace, settings: InjectionSettings): JsonPatch {
  refuse(admitted, namespace, settings);
  const options = optionsOf(admitted, namespace, settings);
  const replacement = replaceContainer(pod, admitted, settings);
  const { capture, patch } = captureOf(replacement?.pod ?? admitted, options, new Map());
  const init = initContainer(settings, options, capture);
  const sidecar = sidecarContainer(settings, options, admitted.spec.terminationGracePeriodSeconds);
  refuseByPodSecurity(admitted, namespace, [init, sidecar]);
  return [
    // By their places in the pod as it is: before anything is put in front of them.
    ...patchOf(pod, replacement),
    ...patch,
    ...insert(pod, 'volumes', 'end', [volume]),
    ...insert(pod, 'imagePullSecrets', 'end', missingPullSecrets(admitted, settings)),
    ...(settings.nativeSidecars
      ? insert(pod, 'initContainers', 'start', [init, sidecar])
      : // There the other init containers run while no sidecar does: before the rules, so that these take nothing from them.
        [...insert(pod, 'initContainers', 'end', [init]), ...insert(pod, 'containers', 'end', [sidecar])]),
    ...setEntry(pod, 'labels', INJECTED_LABEL, 'true'),
    ...(admitted.metadata.annotations[NOT_INJECTED_ANNOTATION] === undefined
      ? []
      : [{ op: 'remove', path: pointer('metadata', 'annotations', NOT_INJECTED_ANNOTATION) } as const]),
  ];
}

/**
 * Another webhook has changed the pod after us: probes and ports that are new are taken in. Our containers stay as they are otherwise: the
 * other one may have had its reasons to change them (an image from a mirror, say).
 */
function extend(pod: unknown, admitted: AdmittedPod, namespace: PodNamespace, settings: InjectionSettings): JsonPatch {
  const index = admitted.spec.initContainers.findIndex(({ name }) => name === INIT_NAME);
  const environment = admitted.spec.initContainers[index]?.env ?? [];
  const existing = parseAliases(environment.find(({ name }) => name === 'KPEERING_PROBE_ALIASES')?.value ?? '');
  const options = optionsOf(admitted, namespace, settings);
  const replacement = replaceContainer(pod, admitted, settings);
  const { capture, patch } = captureOf(replacement?.pod ?? admitted, options, existing);
  const changes = initEnvironment(options, capture).flatMap((wanted): readonly PatchOperation[] => {
    const place = environment.findIndex(({ name }) => name === wanted.name);
    if (place === -1) return [{ op: 'add', path: pointer('spec', 'initContainers', index, 'env', '-'), value: wanted }];
    if (environment[place]?.value === wanted.value) return [];
    return [{ op: 'replace', path: pointer('spec', 'initContainers', index, 'env', place, 'value'), value: wanted.value }];
  });
  return [...patchOf(pod, replacement), ...patch, ...changes];
}

/** Of a container that is replaced, and the pod's annotation that says so. */
function patchOf(pod: unknown, replacement: Replacement | undefined): JsonPatch {
  return replacement === undefined
    ? []
    : [...replacement.patch, ...setEntry(pod, 'annotations', REPLACED_ANNOTATION, replacement.container)];
}

function optionsOf({ metadata, spec }: AdmittedPod, namespace: PodNamespace, settings: InjectionSettings): InjectionOptions {
  return readOptions([
    { whose: 'the pod', prefix: OPTION_PREFIX, values: metadata.annotations },
    // Containers may not ask for more than the pod as a whole has: what nobody chose for this pod could make the API server refuse it.
    {
      whose: `the namespace ${namespace.name}`,
      prefix: OPTION_PREFIX,
      values: namespace.annotations,
      resources: spec.resources === undefined,
    },
    { whose: "the operator's settings", prefix: '', values: settings.defaults, resources: spec.resources === undefined },
  ]);
}

/** What is captured in the pod, and the patch of its probes. */
function captureOf(admitted: AdmittedPod, options: InjectionOptions, existing: Aliases): { capture: Capture; patch: JsonPatch } {
  const declared = declaredPorts(admitted, 'tcp');
  const inboundPorts = options.inboundPorts ?? (declared.length === 0 ? ['*'] : declared);
  const inboundUdpPorts =
    options.inboundUdpPorts ?? (options.mode === 'redirect' ? [] : declaredPorts(admitted, 'udp').slice(0, MOST_UDP_PORTS));
  const included = portMatcher(inboundPorts);
  const excluded = portMatcher(options.excludeInboundPorts);
  const isCaptured = (port: number): boolean => included(port) && !excluded(port);
  const { aliases, patch } = aliasProbes(probedPorts(admitted), isCaptured, existing);
  return { capture: { inboundPorts, inboundUdpPorts, aliases }, patch };
}

/** Whether a port is one of `entries`. A pod may declare thousands of ports, and probe as many. */
function portMatcher(entries: readonly string[]): (port: number) => boolean {
  const single = new Set(entries);
  const others = entries.filter((entry) => !/^\d+$/u.test(entry));
  return (port) => single.has(String(port)) || others.some((entry) => matchesEntry(entry, port));
}

/** Those of the settings that the pod does not name. */
function missingPullSecrets({ spec }: AdmittedPod, { imagePullSecrets = [] }: InjectionSettings): readonly object[] {
  const named = new Set(spec.imagePullSecrets.map(({ name }) => name));
  return imagePullSecrets.filter((name) => !named.has(name)).map((name) => ({ name }));
}

function declaredPorts(admitted: AdmittedPod, protocol: 'tcp' | 'udp'): readonly string[] {
  const declared = lastingContainers(admitted).flatMap(({ container }) => container.ports);
  return [...new Set(declared.filter((port) => protocolOf(port) === protocol).map(({ containerPort }) => String(containerPort)))];
}

function insert(
  pod: unknown,
  list: 'volumes' | 'imagePullSecrets' | 'initContainers' | 'containers',
  where: 'start' | 'end',
  items: readonly object[],
): JsonPatch {
  if (items.length === 0) return [];
  const present = isRecord(pod) && isRecord(pod['spec']) && Array.isArray(pod['spec'][list]);
  if (!present) return [{ op: 'add', path: pointer('spec', list), value: items }];
  return items.map((value, offset) => ({ op: 'add', path: pointer('spec', list, where === 'start' ? offset : '-'), value }));
}

/** Sets a label or an annotation that has not that value yet. */
function setEntry(pod: unknown, map: 'labels' | 'annotations', key: string, value: string): JsonPatch {
  const metadata = isRecord(pod) ? pod['metadata'] : undefined;
  if (!isRecord(metadata)) return [{ op: 'add', path: pointer('metadata'), value: { [map]: { [key]: value } } }];
  const entries = metadata[map];
  if (!isRecord(entries)) return [{ op: 'add', path: pointer('metadata', map), value: { [key]: value } }];
  return entries[key] === value ? [] : [{ op: 'add', path: pointer('metadata', map, key), value }];
}

/** Of a reason: what a wrong value says may be as long as an annotation. Characters. */
const MOST_OF_A_REASON = 1_000;

function shortened(reason: Failure): Failure {
  const { code, message, likely, remedy, exitCode } = reason;
  const short = (text: string): string =>
    text.length <= MOST_OF_A_REASON ? text : `${text.slice(0, MOST_OF_A_REASON - 1).toWellFormed()}…`;
  if ([message, likely ?? '', remedy ?? ''].every((text) => text.length <= MOST_OF_A_REASON)) return reason;
  return new Failure(code, short(message), {
    ...(likely !== undefined && { likely: short(likely) }),
    ...(remedy !== undefined && { remedy: short(remedy) }),
    exitCode,
  });
}

/** Bytes, of all names and values together: an object with more is refused (apimachinery, TotalAnnotationSizeLimitB). */
const MOST_OF_ANNOTATIONS = 262_144;

function hasRoomFor(annotations: Readonly<Record<string, string>>, key: string, value: string): boolean {
  const entries = Object.entries({ ...annotations, [key]: value });
  return entries.reduce((sum, [name, text]) => sum + Buffer.byteLength(name) + Buffer.byteLength(text), 0) <= MOST_OF_ANNOTATIONS;
}

function unreadable(error: z.ZodError): Failure {
  const [issue] = error.issues;
  return new Failure('INJECT_POD', `the pod cannot be read: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`, { cause: error });
}
