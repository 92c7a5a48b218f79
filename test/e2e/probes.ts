import type { Outcome } from '../../src/kpctl/demo/processes.ts';
import { postgresUser } from './servers.ts';
import { staticBusybox } from './static-program.ts';

/** A program that calls the cluster, as a line of shell, and what it prints if it gets there. */
export interface Probe {
  readonly title: string;
  readonly script: string;
  readonly expected: RegExp;
}

/** How the place that programs run in sees files of the checkout. */
export interface ProbePlace {
  readonly namespace: string;
  readonly node: string;
  readonly inCheckout: (path: string) => string;
}

const java = (url: string): string => `
class Get {
  public static void main(String[] words) throws Exception {
    try (var in = new java.net.URL("${url}").openStream()) { in.transferTo(System.out); }
  }
}`;

/** Real programs of several languages and resolvers, each by a short or a long name; Services `web`, `pods`, `db` and `cache`. */
export function probes({ namespace, node, inCheckout }: ProbePlace): readonly Probe[] {
  const answer = /^(200 )?dependency on web-\S+ is well$/m;
  const domain = `${namespace}.svc.cluster.local`;
  const connection = (host: string): string => `host=${host} user=${postgresUser.user} dbname=postgres connect_timeout=20`;
  const python = (url: string): string =>
    `/usr/bin/python3 -c 'import urllib.request; print(urllib.request.urlopen("${url}").read().decode())'`;
  const names = ['web', `web.${namespace}`, `web.${namespace}.svc`, `web.${domain}`];
  return [
    ...names.map((name) => ({ title: `curl http://${name}`, script: `curl -sS -m 20 http://${name}/status`, expected: answer })),
    ...names.map((name) => ({
      title: `getent hosts ${name}`,
      script: `getent ahostsv4 ${name}`,
      expected: /^\d+\.\d+\.\d+\.\d+ +STREAM/m,
    })),
    { title: 'curl of a headless Service', script: `curl -sS -m 20 http://pods:8080/status`, expected: answer },
    { title: 'psql', script: `PGPASSWORD=${postgresUser.password} psql "${connection('db')}" -tAc 'select 40 + 2'`, expected: /^42$/m },
    {
      title: 'psql by the long name',
      script: `PGPASSWORD=${postgresUser.password} psql "${connection(`db.${domain}`)}" -tAc "select repeat('x', 100000)" | wc -c`,
      expected: /^100001$/m,
    },
    {
      title: 'redis-cli',
      script: `redis-cli -h cache.${namespace} set probe kept && redis-cli -h cache get probe`,
      expected: /^OK\nkept$/m,
    },
    { title: 'a static program', script: `${staticBusybox()} wget -q -O - http://web/status`, expected: answer },
    {
      title: 'a static program by the long name',
      script: `${staticBusybox()} wget -q -O - http://web.${domain}/status`,
      expected: answer,
    },
    { title: 'Python', script: python('http://web/status'), expected: answer },
    { title: 'Node', script: `${node} ${inCheckout('deploy/examples/apps/main.js')} get http://web.${namespace}/status`, expected: answer },
    {
      title: 'Java',
      script: `d=$(mktemp -d) && cat >$d/Get.java <<'END'\n${java(`http://web.${namespace}/status`)}\nEND\njava -XX:-UsePerfData -Xshare:auto -XX:TieredStopAtLevel=1 $d/Get.java; rm -r $d`,
      expected: answer,
    },
    { title: 'dig over UDP', script: `dig +notcp +short +tries=1 web.${domain}`, expected: /^\d+\.\d+\.\d+\.\d+$/m },
    { title: 'dig over TCP', script: `dig +tcp +short +tries=1 web.${domain} AAAA`, expected: /^[0-9a-f:]+:[0-9a-f:]+$/m },
    { title: 'dig by a short name', script: `dig +search +short +tries=1 web`, expected: /^\d+\.\d+\.\d+\.\d+$/m },
    {
      title: "dig asks the cluster's own name server over UDP",
      script: `dig +notcp +short +tries=2 @kube-dns.kube-system.svc.cluster.local web.${domain}`,
      expected: /^\d+\.\d+\.\d+\.\d+$/m,
    },
    {
      title: 'datagrams are answered',
      script: `${node} ${inCheckout('deploy/examples/apps/main.js')} udp-ask web.${namespace} 7000 1200 20`,
      expected: /^\{"web-\S+":20\}$/m,
    },
    {
      title: 'a name that does not exist is told as such',
      script: `getent hosts nothing.${domain} || echo no such name; dig nothing.${domain} | grep -o NXDOMAIN`,
      expected: /^no such name\nNXDOMAIN$/m,
    },
  ];
}

/** All of them in one shell; then what each has printed, and its exit code. */
export function scriptOf(all: readonly Probe[]): string {
  return all.map(({ title, script }) => `echo '## ${title.replaceAll("'", '')}'\n{ ${script}\n} 2>&1`).join('\n');
}

/** Titles of those that did not print what they should, with what they did print. */
export function failedProbes(all: readonly Probe[], outcome: Outcome): string[] {
  const parts = outcome.stdout.split(/^## .*$/m).slice(1);
  const failed = all.flatMap(({ title, expected }, index) => {
    const printed = (parts[index] ?? 'nothing at all').trim();
    return expected.test(printed) ? [] : [`${title}: ${printed}`];
  });
  return failed.length === 0 && outcome.code === 0
    ? []
    : failed.concat(outcome.code === 0 ? [] : [`exit code ${outcome.code}: ${outcome.stderr}`]);
}
