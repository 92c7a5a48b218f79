import { Failure } from '../../platform/errors.ts';
import { isOurs, type AdmittedContainer, type AdmittedPod } from './admitted-pod.ts';
import { isRecord, pointer, type JsonPatch, type PatchOperation } from './json-patch.ts';
import { REPLACE_ANNOTATION } from './names.ts';
import type { InjectionSettings } from './settings.ts';

/**
 * Does nothing, and ends at once on SIGTERM (PID 1 ignores it otherwise). Of the init container's image, which the pod needs in any case and
 * which has a shell: it takes next to no memory of the container's limit, and obeys no variable that was meant for the app (NODE_OPTIONS).
 */
const placeholder = [
  '/bin/sh',
  '-c',
  "trap 'kill $!; exit 0' TERM INT; echo 'kpeering holds the place of this container (kpctl intercept --replace)'; while :; do sleep 3600 & wait; done",
] as const;

/** Nobody, where the pod does not say who: our image says nothing either, and a pod with runAsNonRoot would not start. */
const PLACEHOLDER_USER = 65_534;

/** What belongs to the app's program alone, and would fail or mean nothing with another one. */
const dropped = ['args', 'workingDir', 'startupProbe', 'livenessProbe', 'readinessProbe', 'lifecycle'] as const;

/** A pod in which one of ours holds a container's place. */
export interface Replacement {
  /** The container's name. */
  readonly container: string;
  /** The pod as injection is to see it: no probe asks the replaced container. */
  readonly pod: AdmittedPod;
  readonly patch: JsonPatch;
}

/**
 * Puts our container in the place of the one that the annotation names: with its name, environment, mounts, ports, resources and security
 * context, and another program, without probes and hooks. Undefined: no annotation asks for it. Nothing is changed that is so already.
 * Throws a Failure `INJECT_REPLACE`.
 */
export function replaceContainer(pod: unknown, admitted: AdmittedPod, settings: InjectionSettings): Replacement | undefined {
  const name = admitted.metadata.annotations[REPLACE_ANNOTATION];
  if (name === undefined) return undefined;
  const index = admitted.spec.containers.findIndex((container) => container.name === name);
  const raw = rawContainer(pod, index);
  if (raw === undefined || isOurs(name)) {
    const others = admitted.spec.containers.map((container) => container.name).filter((other) => !isOurs(other));
    throw new Failure('INJECT_REPLACE', `the annotation ${REPLACE_ANNOTATION} names the container "${name}", which cannot be replaced`, {
      remedy: `name one of ${others.join(', ')}`,
    });
  }
  const at = (field: string): string => pointer('spec', 'containers', index, field);
  const wanted = { image: settings.images.init, imagePullPolicy: settings.pullPolicy, command: placeholder };
  const containers = admitted.spec.containers.map((container) => (container.name === name ? silent(container) : container));
  return {
    container: name,
    pod: { ...admitted, spec: { ...admitted.spec, containers } },
    patch: [
      ...Object.entries(wanted)
        .filter(([field, value]) => JSON.stringify(raw[field]) !== JSON.stringify(value))
        .map(([field, value]): PatchOperation => ({ op: 'add', path: at(field), value })),
      ...dropped.filter((field) => raw[field] !== undefined).map((field): PatchOperation => ({ op: 'remove', path: at(field) })),
      ...userOf(pod, raw, at('securityContext')),
    ],
  };
}

function rawContainer(pod: unknown, index: number): Record<string, unknown> | undefined {
  const spec = isRecord(pod) ? pod['spec'] : undefined;
  const list: unknown = isRecord(spec) ? spec['containers'] : undefined;
  const raw: unknown = Array.isArray(list) ? list[index] : undefined;
  return isRecord(raw) ? raw : undefined;
}

function userOf(pod: unknown, raw: Record<string, unknown>, path: string): JsonPatch {
  const spec = isRecord(pod) ? pod['spec'] : undefined;
  const ofPod = isRecord(spec) ? spec['securityContext'] : undefined;
  const own = raw['securityContext'];
  if ([own, ofPod].some((context) => isRecord(context) && typeof context['runAsUser'] === 'number')) return [];
  return isRecord(own)
    ? [{ op: 'add', path: `${path}/runAsUser`, value: PLACEHOLDER_USER }]
    : [{ op: 'add', path, value: { runAsUser: PLACEHOLDER_USER } }];
}

function silent(container: AdmittedContainer): AdmittedContainer {
  return { ...container, startupProbe: undefined, livenessProbe: undefined, readinessProbe: undefined, lifecycle: undefined };
}
