import { mergeForLaptop, overrideEnvironment, type EnvironmentOverrides } from '../../simulator/environment/index.ts';

export interface CommandEnvironmentOptions {
  /** The container's; undefined: the run stands for none. */
  readonly container: ReadonlyMap<string, string> | undefined;
  /** This process's. */
  readonly laptop: Readonly<Record<string, string | undefined>>;
  readonly overrides: EnvironmentOverrides;
  /** Whether COMMAND has the token of the pod's service account. */
  readonly asServiceAccount: boolean;
}

/** COMMAND's environment: the laptop's, overlaid with the container's and then with what the user changes. */
export function commandEnvironment({
  container = new Map(),
  laptop,
  overrides,
  asServiceAccount,
}: CommandEnvironmentOptions): Record<string, string> {
  const merged = mergeForLaptop(container, laptop);
  // Libraries prefer it to the service account, whose rights COMMAND is to have.
  if (asServiceAccount && !container.has('KUBECONFIG')) delete merged['KUBECONFIG'];
  return Object.fromEntries(overrideEnvironment(Object.entries(merged), overrides, container));
}
