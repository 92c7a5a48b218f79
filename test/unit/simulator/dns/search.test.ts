import test from 'ava';
import { fullName, parseResolvConf, podResolvConf } from '../../../../src/simulator/dns/search.ts';

test('resolv.conf is read as glibc reads it', (t) => {
  const text = [
    '# made by hand',
    'nameserver 192.0.2.1 # first',
    'nameserver fe80::1%eth0',
    'nameserver nonsense',
    'domain old.example',
    'search corp.example.  lab.example',
    'options timeout:2 ndots:1',
    'options rotate timeout:3',
    'nameserver 192.0.2.3',
    'nameserver 192.0.2.4',
    '  nameserver 192.0.2.5',
  ].join('\n');
  t.deepEqual(parseResolvConf(text), {
    nameservers: ['192.0.2.1', 'fe80::1%eth0', '192.0.2.3'],
    search: ['corp.example', 'lab.example'],
    options: ['timeout:3', 'ndots:1', 'rotate'],
  });
  t.deepEqual(parseResolvConf('search .\n'), { nameservers: [], search: [], options: [] });
});

test("a pod's resolv.conf, with the machine's own search domains behind the cluster's", (t) => {
  const machine = 'nameserver 127.0.0.53\nsearch corp.example svc.cluster.local\noptions edns0 trust-ad ndots:1 timeout:1 single-request\n';
  t.is(
    podResolvConf({ nameservers: ['198.18.0.1'], namespace: 'shop', machine }),
    'search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n' +
      'nameserver 198.18.0.1\noptions ndots:5 timeout:1 single-request\n',
  );
  t.is(
    podResolvConf({ nameservers: ['10.96.0.10', 'fd00::10'], namespace: 'a', domain: 'k.example' }),
    'search a.svc.k.example svc.k.example k.example\nnameserver 10.96.0.10\nnameserver fd00::10\noptions ndots:5\n',
  );
});

test('never more than 32 search domains', (t) => {
  const machine = `search ${Array.from({ length: 60 }, (_, index) => `d${index}.example`).join(' ')}`;
  const [line = ''] = podResolvConf({ nameservers: ['192.0.2.1'], namespace: 'a', machine }).split('\n');
  t.is(line.split(' ').length, 33);
});

test('short names stand for full ones', (t) => {
  const full = (name: string): string | undefined => fullName(name, 'shop', 'cluster.local')?.name;
  t.is(full('web'), 'web.shop.svc.cluster.local');
  t.is(full('web.other'), 'web.other.svc.cluster.local');
  t.is(full('web.other.svc'), 'web.other.svc.cluster.local');
  t.is(full('pod-0.web.other.SVC'), 'pod-0.web.other.SVC.cluster.local');
  t.is(full('_http._tcp.web'), '_http._tcp.web.shop.svc.cluster.local');
  t.is(full('www.example.com'), undefined);
  t.is(full(''), undefined);
  t.false(fullName('example.com', 'shop', 'cluster.local')?.certain);
  t.true(fullName('a.b.svc', 'shop', 'cluster.local')?.certain);
});
