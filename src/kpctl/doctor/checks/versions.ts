import { VERSION_LABEL } from '../../../operator/manifests/labels.ts';
import { operatorSettingsSchema } from '../../../operator/settings.ts';
import { declaredSidecarOf } from '../../../cluster/workloads.ts';
import { isInjected } from '../../inject/injected-pods.ts';
import { version } from '../../../platform/version.ts';
import { clusterCheck, type Reached } from '../examination.ts';
import { note, ok, warning, type Seen } from '../finding.ts';
import type { Installed } from '../installation.ts';
import { restartOf, subjectOf } from '../subjects.ts';

/** The versions of everything that speaks with each other, and how they differ. */
export const versionsCheck = clusterCheck('versions', async ({ version: server }, examination) => {
  const [{ operator, gateway }, pods, { answers }] = await Promise.all([
    examination.installation(),
    examination.pods(),
    examination.sidecars(),
  ]);
  const parts = [part('operator', operator), part('gateway', gateway)].filter((seen) => seen !== undefined);
  const image = typeof operator === 'string' ? undefined : sidecarImage(operator);
  const outdated = pods.flatMap((pod) => {
    const actual = declaredSidecarOf(pod)?.image;
    if (actual === undefined || image === undefined || actual === image || !isInjected(pod)) return [];
    return [note(`its sidecar's image is ${actual}, and the operator injects ${image} now`, restartOf(pod), subjectOf(pod))];
  });
  const skewed = answers.flatMap(({ pod, told }) =>
    told === undefined || told.software === version
      ? []
      : [note(`its kpeering is ${told.software}, kpctl ${version}: they understand each other`, undefined, subjectOf(pod))],
  );
  return [ofServer(server), ...parts, ...outdated, ...skewed];
});

function ofServer({ major, minor, text }: Reached['version']): Seen {
  const said = `kpctl ${version}, Node ${process.version}, Kubernetes ${text}`;
  if (major > 1 || minor >= 29) return ok(said);
  return note(`${said}: without native sidecars (1.29), so that pods which end by themselves (Jobs) are not injected`);
}

function part(name: string, deployment: Installed | string): Seen | undefined {
  if (typeof deployment === 'string') return undefined;
  const theirs = deployment.metadata.labels[VERSION_LABEL];
  if (theirs === undefined)
    return note(`the ${name} does not say its version`, 'it was not installed by kpctl install or the Helm chart, which say it');
  if (theirs === version) return ok(`${name} ${theirs}`);
  return warning(
    `the ${name} is of version ${theirs}, kpctl of ${version}`,
    'use the same for both: kpctl install brings the cluster to the version of this kpctl, and changes it for everybody',
  );
}

/** What the operator injects, by its settings. */
function sidecarImage({ spec }: Installed): string | undefined {
  const text = spec.template.spec.containers.flatMap(({ env }) => env).find(({ name }) => name === 'KPEERING_SETTINGS')?.value;
  if (text === undefined) return undefined;
  try {
    return operatorSettingsSchema.safeParse(JSON.parse(text)).data?.images.sidecar;
  } catch {
    return undefined;
  }
}
