import { ExitCode, Failure } from '../platform/errors.ts';
import { daemonSets, deployments, jobs, replicaSets, statefulSets } from './controllers.ts';
import { pods } from './pods.ts';
import { services } from './services.ts';

/** The kinds that WORKLOAD may name, as kubectl writes them. */
export const workloadTypes = ['deployment', 'statefulset', 'daemonset', 'replicaset', 'job', 'pod', 'service'] as const;
export type WorkloadType = (typeof workloadTypes)[number];

/** kubectl's short names. */
const SHORT_NAMES: Readonly<Record<string, WorkloadType>> = {
  deploy: 'deployment',
  sts: 'statefulset',
  ds: 'daemonset',
  rs: 'replicaset',
  po: 'pod',
  svc: 'service',
};

/** Where the API has each kind. */
export const workloadResources = {
  deployment: deployments,
  statefulset: statefulSets,
  daemonset: daemonSets,
  replicaset: replicaSets,
  job: jobs,
  pod: pods,
  service: services,
} as const;

/** What NAME or TYPE/NAME says. Without a type the name is looked for in several kinds. */
export interface WorkloadReference {
  readonly type?: WorkloadType;
  readonly name: string;
}

/**
 * Reads `NAME` or `TYPE/NAME`: TYPE in any case, short, singular or plural, with or without its group
 * (`deploy/web`, `Deployments.apps/web`, `deployment.v1.apps/web`). Failure WORKLOAD_INVALID (exit code 2).
 */
export function parseWorkload(text: string): WorkloadReference {
  const [first = '', second, ...rest] = text.trim().split('/');
  const name = second ?? first;
  // RFC 1123 subdomain: what the API takes as a name.
  if (rest.length > 0 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name) || name.length > 253) {
    throw invalid(`"${text}" is not NAME or TYPE/NAME`);
  }
  return second === undefined ? { name } : { type: parseType(first), name };
}

function parseType(text: string): WorkloadType {
  const [plain = '', ...group] = text.toLowerCase().split('.');
  const type = SHORT_NAMES[plain] ?? workloadTypes.find((known) => known === plain || `${known}s` === plain);
  if (type === undefined) throw invalid(`"${text}" is not a kind of workload`);
  const resource = workloadResources[type];
  if (group[0] === resource.version) group.shift();
  if (group.length > 0 && group.join('.') !== resource.group) {
    throw invalid(`"${text}" is not a kind of workload`);
  }
  return type;
}

function invalid(what: string): Failure {
  return new Failure('WORKLOAD_INVALID', what, {
    remedy: `write it as web or deployment/web; the kinds are ${workloadTypes.join(', ')}, and kubectl's short names`,
    exitCode: ExitCode.usage,
  });
}
