#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Writes a GeoIP database for tests with MaxMind's own writer (Debian: libmaxmind-db-writer-perl).
#
#   make_mmdb.pl KIND FILE
#
# KIND is a key of %KINDS below. The networks and who they belong to are made up.

use strict;
use warnings;

use MaxMind::DB::Writer::Tree;

# What each kind holds: network => record. A record is [country, registered_country]; either may be
# undef, as in MaxMind's own databases.
my %KINDS = (
    country => {
        type     => 'GeoLite2-Country',
        networks => [
            ['127.0.0.0/8'       => ['DE', 'DE']],
            ['10.9.0.0/24'       => ['US', 'US']],
            ['192.0.2.0/24'      => ['FR', 'DE']],
            ['192.0.2.128/25'    => ['FR', undef]],
            ['198.51.100.0/24'   => [undef, 'GB']],
            ['198.51.101.0/24'   => [undef, undef]],
            ['2001:db8::/32'     => ['JP', 'JP']],
            ['2001:db8:1::/48'   => [undef, 'BR']],
            ['2001:db8:2::/128'  => ['KR', 'JP']],
        ],
    },
    country_moved => {
        type     => 'GeoLite2-Country',
        networks => [['192.0.2.0/24' => ['IT', 'IT']]],
    },
    # A publisher with names of its own, and IPv4 only.
    own_name_ipv4 => {
        type       => 'Example-Inc-Locations',
        ip_version => 4,
        networks   => [['192.0.2.0/24' => ['FR', 'FR']]],
    },
    # What can be wrong with the codes themselves.
    bad_codes => {
        type     => 'GeoLite2-Country',
        networks => [
            ['192.0.2.0/26'   => ['fr', undef]],
            ['192.0.2.64/26'  => ['FRA', 'FR']],
            ['192.0.2.128/26' => ['', 'FR']],
            ['192.0.2.192/26' => ['FR', 'FR']],
        ],
    },
    # Another kind of database altogether.
    asn => {
        type     => 'GeoLite2-ASN',
        networks => [['192.0.2.0/24' => { autonomous_system_number => 64496 }]],
    },
    no_networks => { type => 'GeoLite2-Country', networks => [] },
);

my %TYPES = (
    autonomous_system_number => 'uint32',
    country                  => 'map',
    geoname_id               => 'uint32',
    iso_code                 => 'utf8_string',
    registered_country       => 'map',
    traits                   => 'map',
    is_anycast               => 'boolean',
);

sub record {
    my ($data) = @_;
    return $data if ref $data eq 'HASH';
    my ($country, $registered) = @{$data};
    my %record = (traits => { is_anycast => 0 });
    $record{country} = { geoname_id => 1, iso_code => $country } if defined $country;
    $record{registered_country} = { geoname_id => 2, iso_code => $registered } if defined $registered;
    return \%record;
}

die "usage: make_mmdb.pl KIND FILE\n" if @ARGV != 2;
my ($name, $file) = @ARGV;
my $kind = $KINDS{$name} or die "make_mmdb.pl: no kind '$name'\n";
my $ip_version = $kind->{ip_version} // 6;

my $tree = MaxMind::DB::Writer::Tree->new(
    ip_version               => $ip_version,
    record_size              => 24,
    database_type            => $kind->{type},
    languages                => ['en'],
    description              => { en => 'mc-proxy test data' },
    alias_ipv6_to_ipv4       => $ip_version == 6 ? 1 : 0,
    remove_reserved_networks => 0,
    map_key_type_callback    => sub { $TYPES{ $_[0] } // die "make_mmdb.pl: no type for '$_[0]'\n" },
);
$tree->insert_network($_->[0], record($_->[1])) for @{ $kind->{networks} };

open my $out, '>:raw', $file or die "make_mmdb.pl: $file: $!\n";
$tree->write_tree($out);
close $out or die "make_mmdb.pl: $file: $!\n";
