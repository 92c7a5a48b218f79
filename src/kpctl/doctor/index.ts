import { apiCheck } from './checks/api.ts';
import { captureCheck } from './checks/capture.ts';
import { certificateCheck } from './checks/certificate.ts';
import { injectionCheck } from './checks/injection.ts';
import { kubeconfigCheck } from './checks/kubeconfig.ts';
import { leftoversHereCheck } from './checks/leftovers-here.ts';
import { leftoversInClusterCheck } from './checks/leftovers-in-cluster.ts';
import { namesCheck } from './checks/names.ts';
import { namespaceCheck } from './checks/namespace.ts';
import { networksCheck } from './checks/networks.ts';
import { operatorCheck } from './checks/operator.ts';
import { privateNetworkCheck } from './checks/private-network.ts';
import { rightsCheck } from './checks/rights.ts';
import { sidecarsCheck } from './checks/sidecars.ts';
import { toolsCheck } from './checks/tools.ts';
import { transportCheck } from './checks/transport.ts';
import { upCheck } from './checks/up.ts';
import { upMachineCheck } from './checks/up-machine.ts';
import { versionsCheck } from './checks/versions.ts';
import { webhookCheck } from './checks/webhook.ts';
import { Examination, type ExaminationOptions } from './examination.ts';
import type { Finding } from './finding.ts';
import { runChecks, type Check, type RunChecksOptions } from './run-checks.ts';

export type { Finding, Verdict } from './finding.ts';
export { reportLines } from './report.ts';

/** In the order of the report: what others depend on comes first. */
export const allChecks: readonly Check<Examination>[] = [
  kubeconfigCheck,
  apiCheck,
  versionsCheck,
  rightsCheck,
  operatorCheck,
  webhookCheck,
  certificateCheck,
  namespaceCheck,
  injectionCheck,
  sidecarsCheck,
  captureCheck,
  transportCheck,
  toolsCheck(),
  privateNetworkCheck(),
  upMachineCheck(),
  upCheck(),
  networksCheck(),
  namesCheck(),
  leftoversHereCheck(),
  leftoversInClusterCheck,
];

/** The whole takes less than ten seconds, the start of kpctl included, whatever does not answer. */
const API_MILLISECONDS = 3_500;
const LOOKUP_MILLISECONDS = 5_000;
const CHECK_MILLISECONDS = 7_000;

/** Looks at everything, at once. Rejects only when `signal` aborts. */
export async function examine(
  subject: Pick<ExaminationOptions, 'open' | 'workload'>,
  options: Pick<RunChecksOptions, 'signal' | 'onEnded'> = {},
): Promise<readonly Finding[]> {
  const { signal, onEnded } = options;
  const abort = signal === undefined ? {} : { signal };
  await using examination = new Examination({ ...subject, milliseconds: { api: API_MILLISECONDS, lookup: LOOKUP_MILLISECONDS }, ...abort });
  return await runChecks(allChecks, examination, { milliseconds: CHECK_MILLISECONDS, ...abort, ...(onEnded !== undefined && { onEnded }) });
}
