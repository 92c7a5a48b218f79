import type { Pod } from '../../cluster/resources.ts';
import type { Cluster } from '../../cluster/types.ts';
import { findWorkload, parseWorkload, type Workload } from '../../cluster/workloads.ts';
import type { OwnedStack } from '../../platform/owned.ts';
import type { Preparation } from '../intercept/preparation.ts';
import { prepare } from '../intercept/prepare.ts';
import { resolveRoutes, type ResolvedPorts } from '../intercept/routes.ts';
import type { PortMapping, SidecarOptions } from '../options.ts';
import { standardQuestions } from '../questions.ts';
import type { Terminal } from '../terminal.ts';
import { attachablePods } from '../workloads/attachable.ts';
import { containerEnvironment } from '../workloads/environment.ts';
import { ContainerFiles } from './container-files.ts';

/** What `-w` and its kin ask for. */
export interface PlaceRequest {
  readonly workload: string | undefined;
  readonly ports: readonly PortMapping[];
  readonly container: string | undefined;
  /** Whether the container's volumes are wanted, too. */
  readonly files: boolean;
  /** How pods of the workload get a sidecar that have none. */
  readonly sidecar: SidecarOptions;
}

/** The workload that a run stands for, with what `--port` came to. */
export interface Place {
  readonly workload: Workload;
  readonly pods: readonly Pod[];
  readonly ports: ResolvedPorts;
  readonly environment: ReadonlyMap<string, string>;
  readonly prepared: Preparation;
  readonly files: Awaited<ReturnType<typeof ContainerFiles.read>> | undefined;
}

/** Undefined: the run stands for no workload. What is prepared in the cluster belongs to `stack`. */
export async function findPlace(
  cluster: Cluster,
  request: PlaceRequest,
  terminal: Terminal,
  stack: OwnedStack,
  signal: AbortSignal,
): Promise<Place | undefined> {
  if (request.workload === undefined) return undefined;
  const workload = await findWorkload(cluster, parseWorkload(request.workload), { signal });
  const yes = request.sidecar.yes === true;
  const context = { cluster, workload, terminal, questions: standardQuestions, yes, ports: request.ports, image: request.sidecar.image };
  const prepared = stack.use(await prepare({ ...context, signal }, request.sidecar));
  const pods = await attachablePods(cluster, workload, { signal });
  const ports = resolveRoutes(workload, pods, request.ports);
  for (const warning of ports.warnings) terminal.warn(warning);
  const [pod] = pods;
  if (pod === undefined) return undefined; // attachablePods answers at least one
  const environment = await containerEnvironment(cluster, pod, request.container, { signal });
  for (const warning of environment.warnings) terminal.warn(warning);
  const { variables } = environment;
  const files = request.files
    ? await ContainerFiles.read({ cluster, pod, container: request.container, variables }, (line) => terminal.warn(line), { signal })
    : undefined;
  return { workload, pods, ports, environment: variables, prepared, files };
}
