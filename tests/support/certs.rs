//! Certificates of an authority made for one test run: a good one and the bad kinds. Opens no port; keys go to
//! whoever asks.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

/// What is wrong with a certificate that a client must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCert {
    /// Right names, signed by itself.
    SelfSigned,
    /// Right names, from our authority, ended in 2021.
    Expired,
    /// Right names, from our authority, begins in 2110.
    NotYetValid,
    /// From our authority, for `wrong.invalid`.
    WrongHost,
    /// From our authority, for no name at all.
    NoName,
    /// From an authority of the same name as ours with another key.
    UnknownAuthority,
    /// From an authority below ours, whose certificate the server does not send.
    MissingIntermediate,
    /// From an authority below ours that ended in 2021.
    ExpiredIntermediate,
    /// Signed by the holder of a certificate that is no authority's.
    IntermediateIsNoAuthority,
    /// Two authorities below one that may have none below it.
    PathTooLong,
    /// From an authority below ours that may sign for `other.test` only.
    NameNotPermitted,
    /// For clients, not for servers.
    ClientUsageOnly,
    /// With a critical extension that nobody knows.
    UnknownCriticalExtension,
}

impl BadCert {
    pub const ALL: [Self; 13] = [
        Self::SelfSigned,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongHost,
        Self::NoName,
        Self::UnknownAuthority,
        Self::MissingIntermediate,
        Self::ExpiredIntermediate,
        Self::IntermediateIsNoAuthority,
        Self::PathTooLong,
        Self::NameNotPermitted,
        Self::ClientUsageOnly,
        Self::UnknownCriticalExtension,
    ];
}

/// A certificate, what the server sends with it, and its key, in PEM.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

/// Our own certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self, rcgen::Error> {
        CertifiedIssuer::self_signed(authority("Marmot test authority"), KeyPair::generate()?).map(Self)
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for localhost and 127.0.0.1, good or with that fault.
    pub fn leaf(&self, fault: Option<BadCert>) -> Result<Leaf, rcgen::Error> {
        let names = match fault {
            Some(BadCert::WrongHost) => vec![String::from("wrong.invalid")],
            Some(BadCert::NoName) => vec![],
            _ => vec![String::from("localhost"), String::from("127.0.0.1")],
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "marmot test server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match fault {
            Some(BadCert::ClientUsageOnly) => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        let (from, to) = match fault {
            Some(BadCert::Expired) => (2020, 2021),
            Some(BadCert::NotYetValid) => (2110, 2115),
            _ => (2020, 2120),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        if fault == Some(BadCert::UnknownCriticalExtension) {
            // An arc for examples (RFC 5612), with an empty octet string in it.
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![4, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        let key = KeyPair::generate()?;
        let (certificate, sent_with_it) = match fault {
            Some(BadCert::SelfSigned) => (params.self_signed(&key)?, String::new()),
            Some(BadCert::UnknownAuthority) => {
                let stranger = Self::new()?;
                (params.signed_by(&key, &stranger.0)?, String::new())
            }
            Some(BadCert::MissingIntermediate) => {
                let middle = self.below(authority("Marmot hidden authority"))?;
                (params.signed_by(&key, &middle)?, String::new())
            }
            Some(BadCert::ExpiredIntermediate) => {
                let mut middle = authority("Marmot expired authority");
                middle.not_after = date_time_ymd(2021, 1, 1);
                let middle = self.below(middle)?;
                (params.signed_by(&key, &middle)?, middle.pem())
            }
            Some(BadCert::IntermediateIsNoAuthority) => {
                let mut middle = authority("Marmot test client");
                middle.is_ca = IsCa::ExplicitNoCa;
                middle.key_usages = vec![KeyUsagePurpose::DigitalSignature];
                // Known to rcgen as an authority with the same name and key, or it would not sign.
                let signer = authority("Marmot test client");
                let middle_key = KeyPair::generate()?;
                let middle = middle.signed_by(&middle_key, &self.0)?;
                (params.signed_by(&key, &Issuer::new(signer, middle_key))?, middle.pem())
            }
            Some(BadCert::PathTooLong) => {
                let mut upper = authority("Marmot upper authority");
                upper.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                let upper = self.below(upper)?;
                let lower =
                    CertifiedIssuer::signed_by(authority("Marmot lower authority"), KeyPair::generate()?, &upper)?;
                (params.signed_by(&key, &lower)?, [lower.pem(), upper.pem()].concat())
            }
            Some(BadCert::NameNotPermitted) => {
                let mut middle = authority("Marmot narrow authority");
                middle.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("other.test".into())],
                    excluded_subtrees: vec![],
                });
                let middle = self.below(middle)?;
                (params.signed_by(&key, &middle)?, middle.pem())
            }
            _ => (params.signed_by(&key, &self.0)?, String::new()),
        };
        Ok(Leaf { certificate: [certificate.pem(), sent_with_it].concat(), key: key.serialize_pem() })
    }

    /// A client's certificate with that name in its subject.
    pub(super) fn client(&self, name: &str) -> Result<Leaf, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        let key = KeyPair::generate()?;
        Ok(Leaf { certificate: params.signed_by(&key, &self.0)?.pem(), key: key.serialize_pem() })
    }

    fn below(&self, params: CertificateParams) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
        CertifiedIssuer::signed_by(params, KeyPair::generate()?, &self.0)
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}
