/**
 * What of a Pod, ConfigMap, Secret and Service (core/v1) the environment is computed from. `cluster/resources.ts`
 * checks the objects; these interfaces are structural, so that its types and the lab's fit.
 */

type Optional<T> = T | null | undefined;

interface KeySelector {
  readonly name?: Optional<string>;
  readonly key: string;
  readonly optional?: Optional<boolean>;
}

interface SourceReference {
  readonly name?: Optional<string>;
  readonly optional?: Optional<boolean>;
}

/** EnvVarSource: exactly one is set. */
export interface VariableSource {
  readonly configMapKeyRef?: Optional<KeySelector>;
  readonly secretKeyRef?: Optional<KeySelector>;
  readonly fieldRef?: Optional<{ readonly fieldPath: string }>;
  readonly resourceFieldRef?: Optional<{
    readonly containerName?: Optional<string>;
    readonly resource: string;
    readonly divisor?: Optional<string | number>;
  }>;
  /** KEP-3721; the file is in a volume of the pod, out of our reach. */
  readonly fileKeyRef?: Optional<{ readonly key: string; readonly path?: Optional<string> }>;
}

export interface EnvironmentContainer {
  readonly name: string;
  readonly env?: Optional<
    readonly { readonly name: string; readonly value?: Optional<string>; readonly valueFrom?: Optional<VariableSource> }[]
  >;
  readonly envFrom?: Optional<
    readonly {
      readonly prefix?: Optional<string>;
      readonly configMapRef?: Optional<SourceReference>;
      readonly secretRef?: Optional<SourceReference>;
    }[]
  >;
  readonly resources?: Optional<{
    readonly limits?: Optional<Readonly<Record<string, string | number>>>;
    readonly requests?: Optional<Readonly<Record<string, string | number>>>;
  }>;
}

export interface EnvironmentPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly uid?: string | undefined;
    readonly labels?: Optional<Readonly<Record<string, string>>>;
    readonly annotations?: Optional<Readonly<Record<string, string>>>;
  };
  readonly spec: {
    readonly containers: readonly EnvironmentContainer[];
    readonly initContainers?: Optional<readonly EnvironmentContainer[]>;
    readonly enableServiceLinks?: Optional<boolean>;
    readonly nodeName?: Optional<string>;
    readonly serviceAccountName?: Optional<string>;
    readonly hostname?: Optional<string>;
    readonly hostNetwork?: Optional<boolean>;
  };
  readonly status?: Optional<{
    readonly hostIP?: Optional<string>;
    readonly hostIPs?: Optional<readonly { readonly ip: string }[]>;
    readonly podIP?: Optional<string>;
    readonly podIPs?: Optional<readonly { readonly ip: string }[]>;
  }>;
}

export interface EnvironmentConfigMap {
  readonly data?: Optional<Readonly<Record<string, string>>>;
}

/** `data` is base64, as the API has it. */
export interface EnvironmentSecret {
  readonly data?: Optional<Readonly<Record<string, string>>>;
}

export interface EnvironmentService {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly clusterIP?: Optional<string>;
    readonly ports?: Optional<readonly { readonly name?: Optional<string>; readonly port: number; readonly protocol?: Optional<string> }[]>;
  };
}
