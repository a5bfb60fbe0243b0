//! Who publishes.
//!
//! Keys and scripts are constants, so that the project needs no curve arithmetic for its demo: key *n* is *n*·G of
//! secp256k1 (SEC 1 compressed), the script pays to its HASH160 (P2PKH).

use super::{DAY, SeedProducer, at};
use crate::domain::producers::id_of_key;

pub(super) const STATISTICS: usize = 0;
pub(super) const WEATHER: usize = 1;
pub(super) const SATELLITE: usize = 2;
pub(super) const MAPS: usize = 3;
pub(super) const GENOMICS: usize = 4;
pub(super) const HOSPITAL: usize = 5;
pub(super) const LANGUAGE: usize = 6;
pub(super) const ARCHIVE: usize = 7;
pub(super) const SPEECH: usize = 8;
pub(super) const MOBILITY: usize = 9;
pub(super) const ENERGY: usize = 10;
pub(super) const EVALUATION: usize = 11;

/// P2PKH script of 13·G: where the market's own share of a payment goes.
pub(super) const OVERLAY_PAYOUT: &str = "76a91457526b1a1534d4bde788253281649fc2e91dc70b88ac";

/// Key, payout script, name, web site; at the index of the constants above.
const PRODUCERS: [[&str; 4]; 12] = [
    [
        "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "76a914751e76e8199196d454941c45d1b3a323f1433bd688ac",
        "Nordmark Statistics Office",
        "https://www.statistics-nordmark.example",
    ],
    [
        "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
        "76a91406afd46bcdfd22ef94ac122aa11f241244a37ecc88ac",
        "Meridian Weather Service",
        "https://data.meridian-weather.example",
    ],
    [
        "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
        "76a9147dd65592d0ab2fe0d0257d571abf032cd9db93dc88ac",
        "Halcyon Earth Imaging",
        "https://www.halcyon-earth.example",
    ],
    [
        "02e493dbf1c10d80f3581e4904930b1404cc6c13900ee0758474fa94abe8c4cd13",
        "76a914c42e7ef92fdb603af844d064faad95db9bcdfd3d88ac",
        "OpenMap Extracts",
        "https://download.openmap-extracts.example",
    ],
    [
        "022f8bde4d1a07209355b4a7250a5c5128e88b84bddc619ab7cba8d569b240efe4",
        "76a9144747e8746cddb33b0f7f95a90f89f89fb387cbb688ac",
        "Lindqvist Genomics Lab",
        "https://lindqvist-lab.example",
    ],
    [
        "03fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a1460297556",
        "76a9147fda9cf020c16cacf529c87d8de89bfc70b8c9cb88ac",
        "St Brendan Clinical Registry",
        "https://registry.st-brendan.example",
    ],
    [
        "025cbdf0646e5db4eaa398f365f2ea7a0e3d419b7e0330e39ce92bddedcac4f9bc",
        "76a9145dedfbf9ea599dd4e3ca6a80b333c472fd0b3f6988ac",
        "Corvid Language Lab",
        "https://corvid-ai.example",
    ],
    [
        "022f01e5e15cca351daff3843fb70f3c2f0a1bdd05e5af888a67784ef3e10a2a01",
        "76a9149652d86bedf43ad264362e6e6eba6eb76450812788ac",
        "Commons Text Archive",
        "https://commons-text.example",
    ],
    [
        "03acd484e2f0c7f65309ad178a9f559abde09796974c57e714c35f110dfc27ccbe",
        "76a914b46abf4d9e1746e33bcc39cea3de876c29c4adf388ac",
        "Polyphon Speech Collective",
        "https://polyphon.example",
    ],
    [
        "03a0434d9e47f3c86235477c7b1ae6ae5d3442d49b1943c2b752a68e2a47e247c7",
        "76a914185140bb54704a9e735016faa7a8dbee4449bddc88ac",
        "Transit Data Cooperative",
        "https://transit-coop.example",
    ],
    [
        "03774ae7f858a9411e5ef4246b70c65aac5649980be5c17891bbec17895da008cb",
        "76a914362995a6e6922a04e0b832a80bc56c33709a42d288ac",
        "GridWatch Energy Data",
        "https://gridwatch.example",
    ],
    [
        "03d01115d548e7561b15c38f004d734633687cf4419620095bc5b0f47070afe85a",
        "76a914dd100be7d9aea5721158ebde6d6a1fd8fff93bb188ac",
        "Plumbline Model Evaluation",
        "https://plumbline.example",
    ],
];

/// All of them, at the index of the constants above; they registered in the market's first days.
pub(super) fn all() -> Vec<SeedProducer> {
    (0..)
        .zip(PRODUCERS)
        .map(|(n, [identity_key, payout_script_hex, display_name, website])| SeedProducer {
            producer_id: id_of_key(identity_key),
            identity_key: identity_key.into(),
            display_name: display_name.into(),
            website: website.into(),
            payout_script_hex: payout_script_hex.into(),
            created_at: at(DAY / 3 + n * 7_451),
        })
        .collect()
}
