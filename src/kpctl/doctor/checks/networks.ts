import { isOwnRoute } from '../../../simulator/machine/own-route.ts';
import { silentLogger } from '../../../platform/log.ts';
import { readRoutes, type Route } from '../../../platform/routes.ts';
import { watchClusterNames } from '../../laptop/names.ts';
import { ApiAddresses } from '../../up/api-addresses.ts';
import { planCapture } from '../../up/capture-plan.ts';
import { clusterCheck, type Examination } from '../examination.ts';
import { note, ok, warning, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** The cluster's networks as `kpctl up` would capture them, and where this machine's own routes or a VPN have the same addresses. */
export function networksCheck(routes: () => readonly Route[] = readRoutes, platform: string = process.platform): Check<Examination> {
  return clusterCheck('networks', async ({ cluster }, _examination, options): Promise<readonly Seen[]> => {
    if (platform !== 'linux') return [];
    await using names = await watchClusterNames(cluster, cluster.namespace, silentLogger, options);
    const apiServer = new ApiAddresses(cluster);
    await apiServer.refresh();
    const plan = planCapture({
      networks: names.addresses,
      routes: routes().filter(({ device, table }) => !isOwnRoute({ table, ...(device !== undefined && { device }) })),
      also: [],
      never: [],
      apiServer: apiServer.now,
      nameServers: [],
    });
    const networks = [...names.addresses.services, ...names.addresses.pods].length;
    const fix =
      'names work: they get addresses that nobody else has; of addresses as such only what "sudo kpctl up --also CIDR" names goes to the cluster';
    return [
      ...(networks === 0
        ? [warning("the cluster's networks are not known: kpctl up captures nothing", 'name them: sudo kpctl up --also CIDR')]
        : names.addresses.told.map((told) => ok(told))),
      ...(networks > 0 && plan.overlaps.length === 0 ? [ok('no route of this machine overlaps them')] : []),
      ...plan.overlaps.map(({ switched, of, route }) => note(`${switched} (${of}) overlaps this machine's route ${route}`, fix)),
    ];
  });
}
