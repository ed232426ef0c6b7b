//! Certificates of an authority made for one test run: a good one and the bad kinds. Opens no port; keys go to
//! whoever asks.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
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
}

impl BadCert {
    pub const ALL: [Self; 4] = [Self::SelfSigned, Self::Expired, Self::NotYetValid, Self::WrongHost];
}

/// A certificate and its key, both in PEM.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

/// Our own certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Marmot test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2120, 1, 1);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for localhost and 127.0.0.1, good or with that fault.
    pub fn leaf(&self, fault: Option<BadCert>) -> Result<Leaf, rcgen::Error> {
        let names = match fault {
            Some(BadCert::WrongHost) => vec![String::from("wrong.invalid")],
            _ => vec![String::from("localhost"), String::from("127.0.0.1")],
        };
        let (from, to) = match fault {
            Some(BadCert::Expired) => (2020, 2021),
            Some(BadCert::NotYetValid) => (2110, 2115),
            _ => (2020, 2120),
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "marmot test server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = match fault {
            Some(BadCert::SelfSigned) => params.self_signed(&key)?,
            _ => params.signed_by(&key, &self.0)?,
        };
        Ok(Leaf { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
