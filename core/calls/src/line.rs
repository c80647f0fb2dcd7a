//! What a line means, once its members are read.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;

use crate::{
    AccessKeyId, Event, Hello, Kind, Losses, Outcome, Refused, Trust,
    members::{Member, Members, Plain},
};

/// The longest line or datagram that is looked at, in bytes: the longest datagram of UDP fits, so that an SDK
/// with a long session token still tells of its attempts.
pub const DATAGRAM_MAX: usize = 65_507;
/// The longest line of `Version: 2`, in bytes, without its line feed.
pub const LINE_MAX: usize = 8192;

/// A line that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// What it tells.
    pub line: Line<'a>,
    /// How many of its members were left out: nobody knows them, they do not belong to such a line, or they hold
    /// what cannot be and is not needed, such as a negative duration.
    pub ignored: u32,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Of a call, or of several equal ones.
    Event(Event<'a>),
    /// Who is speaking.
    Hello(Hello<'a>),
    /// Of calls that the shim could not tell of.
    Losses(Losses),
    /// The same, and that the process ends in good order. A stream that ends without it may have lost more.
    Bye(Losses),
}

/// Reads one line of a stream, or one object of a datagram, without the line feed.
///
/// Client-side monitoring of every SDK (`Version: 1` or none) and `Version: 2` of our shims become the same. What is
/// not known is ignored and counted. What could be read in two ways, or breaks a bound, is refused.
///
/// ```
/// use calls::{Line, Outcome, Trust, decode};
///
/// let line = br#"{"Version":2,"Type":"ApiCall","Service":"S3","Api":"GetObject","Timestamp":1795441324414,
///     "FinalHttpStatusCode":403,"FinalAwsException":"AccessDenied","Parameters":{"Bucket":["reports"]},"Count":3}"#;
/// let Line::Event(event) = decode(line)?.line else { panic!("another line") };
/// assert_eq!((&*event.service, &*event.operation, event.count), ("S3", "GetObject", 3));
/// assert_eq!((event.outcome, event.trust), (Outcome::Denied, Trust::Shim));
/// assert_eq!(event.parameters["Bucket"], ["reports"]);
/// # Ok::<(), calls::Refused>(())
/// ```
///
/// # Errors
/// The first reason that is found for which it is no line.
pub fn decode(line: &[u8]) -> Result<Decoded<'_>, Refused> {
    if line.len() > DATAGRAM_MAX {
        return Err(Refused::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| Refused::NotText)?;
    let mut reader = Reader { members: Members::read(text)? };
    let trust = reader.version(line.len())?;
    let line = reader.line(trust)?;
    let ignored = reader.members.ignored.saturating_add(reader.members.left());
    Ok(Decoded { line, ignored })
}

/// The objects of a datagram: one, or several with line feeds between them. Empty lines are none.
pub fn lines(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    datagram.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty())
}

struct Reader<'a> {
    members: Members<'a>,
}

impl<'a> Reader<'a> {
    fn version(&mut self, length: usize) -> Result<Trust, Refused> {
        match self.whole(Member::Version, u64::MAX)? {
            // Go's SDK says none of calls.
            None | Some(1) => Ok(Trust::Monitoring),
            Some(2) if length > LINE_MAX => Err(Refused::TooLong),
            Some(2) => Ok(Trust::Shim),
            Some(_) => Err(Refused::UnknownVersion),
        }
    }

    fn line(&mut self, trust: Trust) -> Result<Line<'a>, Refused> {
        let kind = self.needed(Member::Type, Event::NAME_MAX)?;
        match (&*kind, trust) {
            ("ApiCall", _) => self.event(Kind::Call, trust).map(Line::Event),
            ("ApiCallAttempt", _) => self.event(Kind::Attempt, trust).map(Line::Event),
            ("Presign", Trust::Shim) => self.event(Kind::Presign, trust).map(Line::Event),
            ("Hello", Trust::Shim) => self.hello().map(Line::Hello),
            ("Losses", Trust::Shim) => Ok(Line::Losses(self.members.lost)),
            ("Bye", Trust::Shim) => Ok(Line::Bye(self.members.lost)),
            _ => Err(Refused::UnknownType),
        }
    }

    fn event(&mut self, kind: Kind, trust: Trust) -> Result<Event<'a>, Refused> {
        let service = self.needed(Member::Service, Event::NAME_MAX)?;
        let operation = self.needed(Member::Api, Event::NAME_MAX)?;
        let first = self.time(Member::Timestamp)?.ok_or(Refused::Missing)?;
        let (last, count, parameters) = self.only_version_2(kind, trust)?;
        let status = self.status(kind)?;
        let exception = self.exception(kind)?;
        let outcome = match kind {
            Kind::Presign => Outcome::Presigned,
            _ => Outcome::of(status, exception.as_deref()),
        };
        let duration = match kind {
            Kind::Attempt => Member::AttemptLatency,
            _ => Member::Latency,
        };
        Ok(Event {
            kind,
            trust,
            service,
            operation,
            region: self.region()?,
            host: self.detail(Member::Fqdn, Event::HOST_MAX)?,
            key: self.key()?,
            request_id: self.request_id()?,
            status,
            exception,
            outcome,
            duration: self.duration(duration),
            user_agent: self.beginning(Member::UserAgent, Event::USER_AGENT_MAX)?,
            first,
            // A clock that was set back between the two is no reason to lose the call.
            last: last.map_or(first, |last| last.max(first)),
            count,
            parameters,
        })
    }

    /// What CSM does not have. There it is as unknown as anything else.
    fn only_version_2(
        &mut self,
        kind: Kind,
        trust: Trust,
    ) -> Result<(Option<Timestamp>, u64, crate::Parameters<'a>), Refused> {
        let parameters = std::mem::take(&mut self.members.parameters);
        if trust == Trust::Monitoring {
            self.members.ignored += u32::from(!parameters.is_empty());
            return Ok((None, 1, crate::Parameters::new()));
        }
        let count = self.whole(Member::Count, Event::COUNT_MAX)?.unwrap_or(1);
        if count == 0 || (kind == Kind::Attempt && count > 1) {
            return Err(Refused::Number);
        }
        Ok((self.time(Member::Last)?, count, parameters))
    }

    fn hello(&mut self) -> Result<Hello<'a>, Refused> {
        let mut text = |member| self.needed(member, Hello::TEXT_MAX);
        let (language, sdk) = (text(Member::Language)?, text(Member::Sdk)?);
        let (sdk_version, shim_version) = (text(Member::SdkVersion)?, text(Member::Shim)?);
        let pid = self.whole(Member::Pid, u64::from(u32::MAX))?;
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        Ok(Hello { language, sdk, sdk_version, shim_version, pid })
    }

    /// 0 is what SDKs say when nobody answered.
    fn status(&mut self, kind: Kind) -> Result<Option<u16>, Refused> {
        let member = match kind {
            Kind::Attempt => Member::Status,
            _ => Member::FinalStatus,
        };
        match self.whole(member, 599)? {
            None | Some(0) => Ok(None),
            Some(status @ 100..=599) => Ok(u16::try_from(status).ok()),
            Some(_) => Err(Refused::Number),
        }
    }

    fn exception(&mut self, kind: Kind) -> Result<Option<Cow<'a, str>>, Refused> {
        let (service, sdk) = match kind {
            Kind::Attempt => (Member::Exception, Member::SdkException),
            _ => (Member::FinalException, Member::FinalSdkException),
        };
        let service = self.beginning(service, Event::EXCEPTION_MAX)?;
        let sdk = self.beginning(sdk, Event::EXCEPTION_MAX)?;
        Ok(service.or(sdk))
    }

    fn request_id(&mut self) -> Result<Option<Cow<'a, str>>, Refused> {
        let plain = self.detail(Member::RequestId, Event::NAME_MAX)?;
        let s3 = self.detail(Member::S3RequestId, Event::NAME_MAX)?;
        Ok(plain.or(s3))
    }

    fn region(&mut self) -> Result<Option<cloud::Region>, Refused> {
        let text = self.text(Member::Region)?;
        Ok(text.and_then(|text| self.known(text.parse().ok())))
    }

    fn key(&mut self) -> Result<Option<AccessKeyId<'a>>, Refused> {
        let text = self.text(Member::AccessKey)?;
        Ok(text.and_then(|text| self.known(AccessKeyId::parse(text))))
    }

    /// Nobody decides by a duration, so one that cannot be is left out. A clock that is set back makes it negative.
    fn duration(&mut self, member: Member) -> Option<Duration> {
        let duration = match self.members.take(member) {
            Plain::Absent => return None,
            Plain::Whole(milliseconds) => Some(Duration::from_millis(milliseconds)),
            _ => None,
        };
        self.known(duration.filter(|duration| *duration <= Event::DURATION_MAX))
    }

    /// Counts what had to be left out.
    fn known<T>(&mut self, value: Option<T>) -> Option<T> {
        self.members.ignored += u32::from(value.is_none());
        value
    }

    fn time(&mut self, member: Member) -> Result<Option<Timestamp>, Refused> {
        let whole = self.whole(member, u64::MAX)?;
        let time = |whole| Timestamp::from_millisecond(i64::try_from(whole).ok()?).ok();
        whole.map(|whole| time(whole).ok_or(Refused::Number)).transpose()
    }

    fn whole(&mut self, member: Member, max: u64) -> Result<Option<u64>, Refused> {
        match self.members.take(member) {
            Plain::Absent => Ok(None),
            Plain::Whole(number) if number <= max => Ok(Some(number)),
            Plain::Whole(_) | Plain::Odd => Err(Refused::Number),
            Plain::Flag | Plain::Text(_) | Plain::Nested => Err(Refused::WrongKind),
        }
    }

    /// A text without which a line means nothing.
    fn needed(&mut self, member: Member, max: usize) -> Result<Cow<'a, str>, Refused> {
        match self.text(member)? {
            None => Err(Refused::Missing),
            Some(text) if is_legal(&text, max) => Ok(text),
            Some(_) => Err(Refused::Text),
        }
    }

    /// A text without which the call is still worth telling of: nothing where it is empty, and left out where it
    /// does not fit.
    fn detail(&mut self, member: Member, max: usize) -> Result<Option<Cow<'a, str>>, Refused> {
        let text = self.text(member)?;
        Ok(self.fitting(text, max))
    }

    /// As much of such a text as fits.
    fn beginning(&mut self, member: Member, max: usize) -> Result<Option<Cow<'a, str>>, Refused> {
        let cut = self.text(member)?.map(|text| match text {
            Cow::Borrowed(text) => {
                Cow::Borrowed(text.get(..text.floor_char_boundary(max)).unwrap_or_default())
            }
            Cow::Owned(mut text) => {
                text.truncate(text.floor_char_boundary(max));
                Cow::Owned(text)
            }
        });
        Ok(self.fitting(cut, max))
    }

    fn fitting(&mut self, text: Option<Cow<'a, str>>, max: usize) -> Option<Cow<'a, str>> {
        let text = text.filter(|text| !text.is_empty())?;
        self.known(Some(text).filter(|text| is_legal(text, max)))
    }

    fn text(&mut self, member: Member) -> Result<Option<Cow<'a, str>>, Refused> {
        match self.members.take(member) {
            Plain::Absent => Ok(None),
            Plain::Text(text) => Ok(Some(text)),
            _ => Err(Refused::WrongKind),
        }
    }
}

/// Whether a text can stand in a record and in a log as it is.
fn is_legal(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)
}
