import {
  applyPatch,
  decideInjection,
  type Injection,
  type InjectionSettings,
  type PodNamespace,
} from '../../../../src/operator/injection/index.ts';

export const settings: InjectionSettings = {
  images: { init: 'kpeering/init:dev', sidecar: 'kpeering/kpeering:dev' },
  pullPolicy: 'IfNotPresent',
  nativeSidecars: true,
  excludedNamespaces: ['kube-system', 'kpeering-system'],
  defaults: {},
};

export const namespace: PodNamespace = { name: 'shop', labels: { 'kpeering.io/inject': 'enabled' }, annotations: {} };

interface PodParts {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: object;
  readonly container?: object;
}

/** A pod with one container, `web`, that declares port 8080. */
export function pod({ labels = {}, annotations = {}, spec = {}, container = {} }: PodParts = {}): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { generateName: 'web-7d9-', labels: { app: 'web', ...labels }, annotations },
    spec: { containers: [{ name: 'web', image: 'web:1', ports: [{ name: 'http', containerPort: 8080 }], ...container }], ...spec },
  };
}

export interface Stage {
  readonly pod?: unknown;
  readonly namespace?: Partial<PodNamespace>;
  readonly settings?: Partial<InjectionSettings>;
}

export function decide(stage: Stage = {}): Injection {
  return decideInjection({
    pod: stage.pod ?? pod(),
    namespace: { ...namespace, ...stage.namespace },
    settings: { ...settings, ...stage.settings },
  });
}

/** What tests look at in a pod that was injected. */
export interface InjectedPod {
  readonly metadata: { readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly InjectedContainer[];
    readonly initContainers: readonly InjectedContainer[];
    readonly volumes: readonly { readonly name: string }[];
  };
}

export interface InjectedContainer {
  readonly name: string;
  readonly image: string;
  readonly imagePullPolicy?: string;
  readonly restartPolicy?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly resources?: object;
  readonly startupProbe?: unknown;
  readonly livenessProbe?: unknown;
  readonly readinessProbe?: unknown;
  readonly lifecycle?: unknown;
  readonly [field: string]: unknown;
}

/** The pod as the patch makes it. Throws when it was not injected. */
export function injected(stage: Stage = {}): InjectedPod {
  const decision = decide(stage);
  if (decision.kind !== 'injected') {
    throw new Error(`${decision.kind}${decision.kind === 'left-alone' ? `: ${decision.reason.format()}` : ''}`);
  }
  const changed = applyPatch(stage.pod ?? pod(), decision.patch);
  assertPod(changed);
  return changed;
}

/** The variables of one of its containers that have a value. */
export function variablesOf({ spec }: InjectedPod, name: string): Readonly<Record<string, string>> {
  const container = [...spec.initContainers, ...spec.containers].find((each) => each.name === name);
  return Object.fromEntries((container?.env ?? []).flatMap((each) => (each.value === undefined ? [] : [[each.name, each.value]])));
}

function assertPod(value: unknown): asserts value is InjectedPod {
  if (typeof value !== 'object' || value === null || !('spec' in value) || !('metadata' in value)) throw new TypeError('no pod');
}
