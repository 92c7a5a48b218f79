import { developerFeatures, userRules, type Feature } from '../../../operator/manifests/developer-rights.ts';
import type { Rule } from '../../../operator/rights.ts';
import type { Action, Cluster } from '../../../cluster/types.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { clusterCheck } from '../examination.ts';
import { note, ok, problem, unknown, type Seen } from '../finding.ts';

/** How many questions are under way at a time. */
const AT_ONCE = 16;

/** Which commands will work for this user, and which right is missing for the others; by SelfSubjectAccessReviews. */
export const rightsCheck = clusterCheck('rights', async ({ cluster, user = 'YOU' }, examination, options) => {
  const installation = await examination.installation();
  const gateway: Feature = { name: 'run without -w', rules: userRules };
  const access = new Access(cluster, options);
  const seen = await Promise.all([
    ...developerFeatures.map(async (feature, index) => {
      const role = { namespace: cluster.namespace, binding: `--clusterrole=kpeering-developer --user=${user}` };
      return await ofFeature(access, feature, role, index === 0);
    }),
    ofFeature(access, gateway, { namespace: installation.namespace, binding: `--role=kpeering-user --user=${user}` }, false),
    ofInstall(access),
  ]);
  return seen;
});

/** Asks each question once. */
class Access {
  readonly #cluster: Cluster;
  readonly #options: Required<AbortOptions>;
  readonly #answers = new Map<string, Promise<boolean>>();
  readonly #waiting: (() => void)[] = [];
  #free = AT_ONCE;

  constructor(cluster: Cluster, options: Required<AbortOptions>) {
    this.#cluster = cluster;
    this.#options = options;
  }

  async can(action: Action): Promise<boolean> {
    const key = JSON.stringify(action);
    const asked = this.#answers.get(key) ?? this.#ask(action);
    this.#answers.set(key, asked);
    return await asked;
  }

  async #ask(action: Action): Promise<boolean> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#cluster.can(action, this.#options);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** The missing rights as RBAC's messages name them: `patch deployments.apps, statefulsets.apps`. */
async function missing(access: Access, rules: readonly Rule[], namespace: string): Promise<string> {
  const actions = rules.flatMap(({ apiGroups, resources, verbs, resourceNames: [name] = [] }) =>
    apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb, name })))),
  );
  const lacking = await Promise.all(
    actions.map(async ({ group, resource, verb, name }) => {
      const [plural = resource, subresource] = resource.split('/');
      const action = {
        verb,
        resource: plural,
        namespace,
        ...(group !== '' && { group }),
        ...(subresource !== undefined && { subresource }),
        ...(name !== undefined && { name }),
      };
      return (await access.can(action)) ? [] : [{ verb, name: group === '' ? resource : `${resource}.${group}` }];
    }),
  );
  const byVerb = Map.groupBy(lacking.flat(), ({ verb }) => verb);
  return [...byVerb].map(([verb, names]) => `${verb} ${[...new Set(names.map(({ name }) => name))].join(', ')}`).join('; ');
}

/** The role that has a feature's rights, and where it is to be bound. */
interface Role {
  readonly namespace: string;
  readonly binding: string;
}

async function ofFeature(access: Access, { name, rules }: Feature, { namespace, binding }: Role, main: boolean): Promise<Seen> {
  const lacking = await missing(access, rules, namespace);
  if (lacking === '') return ok(`you may use ${name}`);
  const seen = `${name} will not work: in namespace ${namespace} you may not ${lacking}`;
  const fix = `an administrator can give you the role: kubectl -n ${namespace} create rolebinding NAME ${binding}`;
  return main ? problem(seen, fix) : note(seen, fix);
}

/** What an installation cannot do without; whoever has this usually has the rest. */
async function ofInstall(access: Access): Promise<Seen> {
  const may = await Promise.all([
    access.can({ verb: 'create', resource: 'namespaces' }),
    access.can({ verb: 'create', group: 'rbac.authorization.k8s.io', resource: 'clusterroles' }),
    access.can({ verb: 'create', group: 'admissionregistration.k8s.io', resource: 'mutatingwebhookconfigurations' }),
  ]);
  if (may.every(Boolean)) return ok('you may use install, uninstall');
  return may.some(Boolean)
    ? unknown('install needs more rights than you have, but you have some of them')
    : note('install, uninstall need the rights of an administrator');
}
