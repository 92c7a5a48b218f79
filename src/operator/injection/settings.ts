import type { OptionName } from './options.ts';

/** What the operator was installed with. */
export interface InjectionSettings {
  readonly images: {
    /** Of the init container: `kpeering/init:0.1.0` */
    readonly init: string;
    /** Of the sidecar: `kpeering/kpeering:0.1.0` */
    readonly sidecar: string;
  };
  readonly pullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Names of Secrets in the pod's namespace, for the two images. */
  readonly imagePullSecrets?: readonly string[];
  /** Whether the cluster runs an init container with `restartPolicy: Always` beside the others (Kubernetes 1.29 or newer). */
  readonly nativeSidecars: boolean;
  /** Namespaces whose pods are never injected: kube-system, and the operator's own. */
  readonly excludedNamespaces: readonly string[];
  /** Options for every pod, by their names without `kpeering.io/`. A namespace's annotation wins, and a pod's wins over that. */
  readonly defaults: Readonly<Partial<Record<OptionName, string>>>;
}

/** What is read of the pod's namespace. */
export interface PodNamespace {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
